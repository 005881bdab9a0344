/** Every kernel of every program, for every target that has a compiler or a validator here: no complaint, no spill. */
import { afterAll, describe, expect, test } from "vitest";
import { assemble, compileCuda, hasNvcc, hasPtxas, needing } from "../targets/ptx/tools.ts";
import { openWgpu, type Gpu } from "../targets/wgsl/gpu.ts";
import { driver } from "./driver.ts";

interface Text {
  readonly text: string;
  readonly entry: string;
  readonly access: readonly ("read" | "storage" | "uniform")[];
}

/** All kernels of all cases for the target with open sizes, and of every third one with its last sizes known. */
function textsOf(target: string): readonly Text[] {
  const found = new Map<string, Text>();
  const like = target.replace("cuda", "ptx").replace(":f16", "");
  for (const [n, one] of driver.cases.entries()) {
    if (one.on !== undefined && !one.on.includes(like)) continue;
    const types = one.types[n % one.types.length] ?? {};
    for (const size of n % 3 === 0 ? [{}, one.sizes.at(-1) ?? {}] : [{}]) {
      const { plan, files } = driver.compileCase(one, types, target, size).artifact;
      for (const kernel of plan.kernels) {
        const access = kernel.buffers.map((buffer: { access: string }) =>
          buffer.access === "read" ? "read" : "storage",
        );
        const content: string = files.get(kernel.file) ?? "";
        found.set(content, {
          text: content,
          entry: kernel.entry,
          access: kernel.sizes.length > 0 ? [...access, "uniform"] : access,
        });
      }
    }
  }
  return [...found.values()];
}

/** Many kernels in one module: each under a name of its own, its source files' numbers too. */
function renamed(texts: readonly Text[]): readonly string[] {
  return texts.map(({ text: one, entry }, k) =>
    one.replace(new RegExp(`\\b${entry}\\b`, "g"), `${entry}_${k}`),
  );
}

/**
 * Kernels that spill, a few bytes each: all sizes are open in them, so that each of sixteen loads has an address and a
 * guard of its own, beside the 64 sums of a thread.
 */
const spillsNow: Readonly<Record<string, readonly string[]>> = { sm_80: ["multiplied_mixed"] };

describe("ptxas, no warning, no spill, no local memory", () => {
  for (const architecture of ["sm_90a", "sm_80"]) {
    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, architecture), { timeout: 300_000 }, () => {
      const modules = renamed(textsOf(`ptx:${architecture}`)).map(withoutPlaces);
      const [first = ""] = modules;
      const head = first.slice(0, first.indexOf(".address_size 64") + ".address_size 64".length);
      const bodies = modules.map((module) => module.slice(head.length));
      expect(modules.every((module) => module.startsWith(head))).toBe(true);
      const { complaints, spilling, entries } = assemble([head, ...bodies].join("\n"), architecture);
      const known = spillsNow[architecture] ?? [];
      const named = (line: string): string | undefined => /function '(.*)_\d+'/.exec(line)?.[1];
      expect(complaints.filter((line) => !known.includes(named(line) ?? ""))).toEqual([]);
      expect(new Set(complaints.map(named))).toEqual(new Set(known));
      expect(spilling.length).toBe(known.length);
      expect(entries).toBe(modules.length);
    });
  }
});

/** `.file` numbers would meet in one module. */
function withoutPlaces(module: string): string {
  return module.replace(/^\s*\.(file|loc)\b.*$/gm, "");
}

/**
 * All kernels in one translation unit, each in a namespace of its own, since a start of nvcc costs more than a kernel.
 * What is checked: the C++ for the device and for the host compiler, with every warning an error, and that ptxas takes
 * the inline assembly for the architecture. ptxas does not optimize: nvcc's registers are not what is emitted here.
 *
 * No text asks for its architecture, and what assembles for sm_80 does for sm_90a (PTX ISA 1.2), so a text of both is
 * compiled for sm_80 alone.
 */
describe("nvcc, no warning", () => {
  const compiled = new Set<string>();
  for (const architecture of ["sm_80", "sm_90a"]) {
    test.skipIf(!hasNvcc)(needing("nvcc", hasNvcc, architecture), { timeout: 300_000 }, () => {
      const texts = textsOf(`cuda:${architecture}`).filter(({ text }) => !compiled.has(text));
      for (const { text } of texts) {
        expect(text).not.toContain("__CUDA_ARCH__");
        compiled.add(text);
      }
      const modules = renamed(texts).map(
        (module, k) => `namespace module_${k} {\n${module.replace(/^#line .*$/gm, "")}\n}`,
      );
      const { complaints, entries } = compileCuda(modules.join("\n"), architecture, ["-Xptxas", "-O0"]);
      expect(complaints).toEqual([]);
      expect(entries).toBe(texts.length);
    });
  }
});

const wgpu: Gpu | undefined = await openWgpu().catch(() => undefined);
afterAll(() => wgpu?.close());

describe("naga", () => {
  for (const target of ["wgsl", "wgsl:f16"]) {
    const there = wgpu !== undefined && (target === "wgsl" || wgpu.features.includes("shader-f16"));
    test.skipIf(!there)(needing("deno with WebGPU", there, target), { timeout: 300_000 }, async () => {
      for (const one of textsOf(target)) await wgpu?.run(one);
    });
  }
});
