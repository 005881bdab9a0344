/**
 * Every example runs as its reader would run it, from the built package, and holds itself to the reference; and every
 * example compiles for every target. `npm test` builds first.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/index.ts";
import type { DType } from "../../compiler/index.ts";
import { openSource } from "../../compiler/cli/source-host.ts";

const root = resolve(import.meta.dirname, "../..");

function runExample(
  script: string,
  ...args: readonly string[]
): { readonly status: number | null; readonly out: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join("examples", script), ...args], {
    cwd: root,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return { status, out: stdout };
}

describe("examples run", () => {
  it("the main job, each kernel with its size and time, and what is not on this machine", () => {
    const { status, out } = runExample("main.mjs");
    expect(out).toMatch(/^ptx:sm_90a: \d+ kernels?,/m);
    expect(out).toMatch(/^cuda:sm_90a: \d+ kernels?,/m);
    expect(out).toMatch(/^wgsl: \d+ kernels?,/m);
    expect(out).toMatch(/^ {2}attend_score .* us /m);
    expect(out).toMatch(/^out: \d+ elements within their bounds of the reference$/m);
    expect(status).toBe(0);
  });

  it("MHA, GQA and MQA from one file", () => {
    const { status, out } = runExample("attention/run.mjs", "js");
    for (const name of ["MHA", "GQA", "MQA"])
      expect(out).toMatch(
        new RegExp(`^${name} .*: out: 4096 elements within their bounds of the reference$`, "m"),
      );
    expect(status).toBe(0);
  });

  it("a Llama-style block", () => {
    const { status, out } = runExample("llama/run.mjs", "js");
    expect(out).toMatch(/^out: 1024 elements within their bounds of the reference$/m);
    expect(status).toBe(0);
  });

  it("a language model continues the lines that it was fitted to, from a safetensors file", () => {
    const folder = mkdtempSync(join(tmpdir(), "weft-example-"));
    try {
      const file = join(folder, "weights.safetensors");
      expect(runExample("tiny-lm/make-weights.mjs", file).status).toBe(0);
      const { status, out } = runExample("tiny-lm/generate.mjs", "Every ", "js", file);
      expect(out.split("\n")[1]).toBe("Every axis has a name.");
      expect(status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("a small model of DeepSeek-V3's form generates what the reference does, prompts in chunks and beyond a page", () => {
    const prompt = Array.from({ length: 18 }, (_, k) => k + 1).join();
    const options = ["--tokens", "2", "--chunk", "9", "--prompt", prompt, "--prompt", "20,9,33"];
    const { status, out } = runExample("deepseek/generate.mjs", "--device", "js", ...options);
    expect(out).toMatch(/^20 9 33 -> \d+ \d+$/m);
    expect(out).toMatch(/^4 tokens, each that of the reference$/m);
    expect(status).toBe(0);
  });
});

const sizes: Readonly<Record<string, Readonly<Record<string, number | DType>>>> = {
  "examples/attention/attention.dsl:attend": { B: 1, S: 5, T: 7, Hkv: 2, G: 3, D: 16, Dv: 8, A: "bf16" },
  "examples/attention/attention.dsl:causal": { B: 1, S: 5, T: 7 },
  "examples/caches/layers.dsl:Shared.step": {
    B: 2,
    S: 1,
    T: 9,
    Dm: 32,
    Hkv: 2,
    G: 2,
    D: 8,
    Dv: 8,
    W: "bf16",
  },
  "examples/deepseek/block.dsl:DenseLayer.forward": {
    B: 1,
    S: 5,
    Dm: 32,
    H: 2,
    Dn: 8,
    Dr: 4,
    Dv: 8,
    Cq: 16,
    Ck: 16,
    F: 24,
    W: "bf16",
  },
  "examples/deepseek/model.dsl:Model.step": {
    B: 2,
    S: 1,
    T: 9,
    V: 16,
    Dm: 32,
    H: 2,
    Dn: 8,
    Dr: 4,
    Dv: 8,
    Cq: 16,
    Ck: 16,
    P: 4,
    F: 24,
    Fe: 8,
    Fs: 8,
    E: 4,
    G: 2,
    Kg: 1,
    K: 2,
    W: "bf16",
  },
  "examples/llama/block.dsl:Block.forward": {
    B: 1,
    S: 5,
    T: 5,
    Dm: 32,
    Hkv: 2,
    G: 2,
    Dh: 8,
    F: 24,
    W: "bf16",
  },
  "examples/tiny-lm/model.dsl:Model.next": {
    B: 2,
    S: 5,
    V: 32,
    Dm: 32,
    Hkv: 2,
    G: 2,
    Dh: 8,
    F: 24,
    W: "bf16",
  },
};

describe("examples compile for every target", () => {
  it("no example is left out", () => {
    const files = readdirSync(join(root, "examples"))
      .filter((name) => statSync(join(root, "examples", name)).isDirectory())
      .flatMap((name) => readdirSync(join(root, "examples", name)).map((file) => `examples/${name}/${file}`))
      .filter((file) => file.endsWith(".dsl"));
    const covered = new Set(Object.keys(sizes).map((program) => program.split(":")[0]));
    expect(files.filter((file) => !covered.has(file))).toEqual([]);
  });

  for (const [program, given] of Object.entries(sizes))
    it.each(["ptx:sm_90a", "ptx:sm_80", "cuda", "wgsl", "js"])(`${program} for %s`, (target) => {
      const [file = "", entry] = program.split(":");
      const { source, host } = openSource(join(root, file), root);
      const [dims, dtypes] = [new Map<string, number>(), new Map<string, DType>()];
      for (const [name, value] of Object.entries(given)) {
        if (typeof value === "number") dims.set(name, value);
        else dtypes.set(name, value);
      }
      const { artifact, diagnostics } = compile({ source, host, entry, target, dims, dtypes });
      expect(diagnostics).toEqual([]);
      expect(artifact?.files.size).toBe(new Set(artifact?.plan.kernels.map((kernel) => kernel.file)).size);
      expect(
        [...(artifact?.files ?? [])].every(
          ([name, text]) => name.startsWith("copy_") || text.includes((entry ?? "").replace(".", "_")),
        ),
      ).toBe(true);
    });
});
