// Runs everything that this machine can, names what it cannot, and ends with one line of counts.
// WEFT_REQUIRE=webgpu,deno,ptxas,nvcc makes a missing part a failure.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "weft-test-"));
const counts = { passed: 0, failed: 0 };

function has(command, ...args) {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

/** Optional parts: what runs only with them, and whether they are here. */
const parts = {
  ptxas: { for: "assembling emitted PTX", here: () => has("ptxas", "--version") },
  nvcc: { for: "compiling emitted CUDA C++", here: () => has("nvcc", "--version") },
  python3: { for: "the Python loader of plans", here: () => has("python3", "--version") },
  webgpu: {
    for: "running WGSL through Dawn",
    here: () =>
      process.env.VK_DRIVER_FILES !== undefined ||
      existsSync("/usr/lib/chromium/vk_swiftshader_icd.json") ||
      has("vulkaninfo"),
  },
  deno: {
    for: "validating WGSL with naga, and running f16 kernels",
    here: () => existsSync("node_modules/deno") && existsSync("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"),
  },
};

const required = (process.env.WEFT_REQUIRE ?? "").split(",").filter((name) => name !== "");
for (const [name, part] of Object.entries(parts)) {
  if (part.here()) continue;
  const must = required.includes(name);
  console.log(`${must ? "MISSING" : "not here"}: ${name} (${part.for})`);
  if (must) counts.failed += 1;
}

function step(name, command, args) {
  console.log(`== ${name}`);
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status === 0) counts.passed += 1;
  else counts.failed += 1;
}

step("types of the tests", "npx", ["tsc", "-p", "test/tsconfig.json"]);
step("lint", "npx", ["oxlint", "--deny-warnings"]);
step("format", "npx", ["prettier", "--check", "--log-level", "warn", "."]);

console.log("== tests");
const file = join(folder, "results.json");
spawnSync("npx", ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile=${file}`], {
  stdio: "inherit",
  // What a test that is killed leaves goes with the folder.
  env: { ...process.env, TMPDIR: folder },
});
if (existsSync(file)) {
  const results = JSON.parse(readFileSync(file, "utf8"));
  counts.passed += results.numPassedTests;
  counts.failed += results.numFailedTests;
  // A file that does not load has no tests to count.
  counts.failed += results.testResults.filter(
    (suite) => suite.status === "failed" && suite.assertionResults.length === 0,
  ).length;
  // What needs a tool that is required and missing has failed above; the rest writes fixtures, when asked to.
  for (const suite of results.testResults) {
    for (const one of suite.assertionResults)
      if (one.status === "pending" || one.status === "skipped") console.log(`skipped: ${one.fullName}`);
  }
} else {
  counts.failed += 1;
}
rmSync(folder, { recursive: true, force: true });
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
