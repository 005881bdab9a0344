/** Kernels made from tile programs: the kernel interpreter, and the PTX simulator on the emitted text, against the oracle. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { interpretKernel } from "../../compiler/kernel/interpret.ts";
import { lowerTileProgram } from "../../compiler/kernel/from-tile/lower.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { improve } from "../../compiler/kernel/passes/index.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { parseTarget, type ChosenTarget } from "../../compiler/targets/index.ts";
import { schedule } from "../../compiler/tile/schedule/choose.ts";
import { decode } from "../../compiler/tensor/number-formats.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import { simulate } from "../targets/ptx/simulated.ts";
import { disagreement, makeCase, streamedWith, type Case } from "./agreement.ts";
import {
  contractions,
  longProducts,
  matrixProducts,
  pairedProducts,
  sweeps,
  type Sample,
} from "./random-loops.ts";

function kernelOf(one: Case, { target, caps }: ChosenTarget): Kernel {
  const kernel = improve(lowerTileProgram(one.program, caps));
  const legal = target.legalize(kernel, caps);
  expect([...verifyKernel(kernel), ...verifyKernel(legal)]).toEqual([]);
  return legal;
}

/** Bytes of each buffer; outputs begin as garbage. Word-packed targets round a buffer up. */
function memoryOf(one: Case, sample: Sample): Uint8Array[] {
  return one.program.buffers.map((buffer, k) => {
    const stored = one.inputs[k]?.bytes;
    const elements = buffer.shape.reduce((p, extent) => p * evaluate(extent, sample.dims), 1);
    const bytes = new Uint8Array(Math.ceil((elements * dtypes[buffer.dtype].bytes) / 4) * 4).fill(0xa5);
    if (stored !== undefined) bytes.set(stored);
    if (buffer.use === "flags") bytes.fill(0);
    return bytes;
  });
}

function outputsOf(one: Case, sample: Sample, memory: readonly Uint8Array[]): number[][] {
  return one.program.buffers.slice(one.inputs.length).map((buffer, k) => {
    const elements = buffer.shape.reduce((p, extent) => p * evaluate(extent, sample.dims), 1);
    const bytes = memory[one.inputs.length + k]?.slice(0, elements * dtypes[buffer.dtype].bytes);
    return Array.from(decode(buffer.dtype, bytes ?? new Uint8Array()), Number);
  });
}

function gridOf(kernel: Kernel, sample: Sample): [number, number, number] {
  const [x, y, z] = kernel.grid;
  return [evaluate(x, sample.dims), evaluate(y, sample.dims), evaluate(z, sample.dims)];
}

function chosen(name: string): ChosenTarget {
  const target = parseTarget(name);
  if (target === undefined) throw new Error(`no target ${name}`);
  return target;
}

function mapsOf(kernel: Kernel, sample: Sample): number[][] {
  return kernel.maps.map((map) => map.dims.map((dim) => evaluate(dim, sample.dims)));
}

/** In the kernel interpreter, where every access out of bounds and every race is a fault. */
function checkInterpreted(
  sample: Sample,
  seed: number,
  target: ChosenTarget,
  scheduled: typeof schedule = schedule,
): Kernel {
  const one = makeCase(sample, target.caps, seed, scheduled);
  const kernel = kernelOf(one, target);
  const memory = memoryOf(one, sample);
  interpretKernel(kernel, {
    buffers: memory,
    sizes: kernel.sizes.map(({ dim }) => evaluate(dim, sample.dims)),
    grid: gridOf(kernel, sample),
    subgroup: target.caps.subgroup,
    maps: mapsOf(kernel, sample),
  });
  expect(disagreement(one.expected, outputsOf(one, sample, memory))).toBeUndefined();
  return kernel;
}

/** On the PTX simulator, with no finding. */
function checkSimulated(
  sample: Sample,
  seed: number,
  target: ChosenTarget,
  scheduled: typeof schedule = schedule,
): void {
  const one = makeCase(sample, target.caps, seed, scheduled);
  const kernel = kernelOf(one, target);
  const { buffers, findings } = simulate(kernel, target.caps, {
    buffers: memoryOf(one, sample),
    sizes: kernel.sizes.map(({ dim }) => evaluate(dim, sample.dims)),
    grid: gridOf(kernel, sample),
    maps: mapsOf(kernel, sample),
  });
  expect(findings).toEqual([]);
  expect(disagreement(one.expected, outputsOf(one, sample, buffers))).toBeUndefined();
}

const samples = fc.oneof(sweeps, contractions);

describe.each(["ptx:sm_90a", "ptx:sm_80", "wgsl", "wgsl:matrices", "js"])("%s", (name) => {
  const target = chosen(name);
  it("computes random loops in the kernel interpreter, with no race and no access out of bounds", () => {
    fc.assert(
      fc.property(samples, fc.nat(1000), (sample, seed) => {
        checkInterpreted(sample, seed, target);
      }),
      { numRuns: 12 },
    );
  }, 120_000);
});

it("computes random loops on the PTX simulator, with no finding", () => {
  const target = chosen("ptx:sm_90a");
  fc.assert(
    fc.property(samples, fc.nat(1000), (sample, seed) => checkSimulated(sample, seed, target)),
    { numRuns: 12 },
  );
}, 120_000);

describe("matrix products with roles and channels", () => {
  const target = chosen("ptx:sm_90a");

  it("are right in the kernel interpreter", () => {
    let roles = 0;
    fc.assert(
      fc.property(matrixProducts, fc.nat(1000), (sample, seed) => {
        const kernel = checkInterpreted(sample, seed, target);
        if (kernel.body.some((op) => op.kind === "roles")) roles += 1;
      }),
      { numRuns: 4 },
    );
    expect(roles).toBeGreaterThan(0);
  }, 120_000);

  it("are right on the PTX simulator, with no finding", () => {
    fc.assert(
      fc.property(matrixProducts, fc.nat(1000), (sample, seed) => checkSimulated(sample, seed, target)),
      { numRuns: 4 },
    );
  }, 120_000);
});

describe("matrix products of which several blocks share a tile", () => {
  const { target, caps } = chosen("ptx:sm_90a");
  const few = fc.constantFrom(3, 5).map((units): ChosenTarget => ({ target, caps: { ...caps, units } }));

  it("are right in the kernel interpreter, with no race", () => {
    let shared = 0;
    fc.assert(
      fc.property(longProducts, few, fc.nat(1000), (sample, device, seed) => {
        const kernel = checkInterpreted(sample, seed, device, streamedWith({ shared: 1 }));
        if (kernel.buffers.some(({ name }) => name === "parts_done")) shared += 1;
      }),
      { numRuns: 3 },
    );
    expect(shared).toBeGreaterThan(0);
  }, 120_000);

  it("are right on the PTX simulator, with no finding", () => {
    fc.assert(
      fc.property(longProducts, few, fc.nat(1000), (sample, device, seed) =>
        checkSimulated(sample, seed, device, streamedWith({ shared: 1 })),
      ),
      { numRuns: 3 },
    );
  }, 120_000);
});

describe("matrix products of which two blocks share copies", () => {
  const { target, caps } = chosen("ptx:sm_90a");
  const few = fc.constantFrom(2, 4).map((units): ChosenTarget => ({ target, caps: { ...caps, units } }));

  it("are right in the kernel interpreter, with no race", () => {
    let paired = 0;
    fc.assert(
      fc.property(pairedProducts, few, fc.nat(1000), (sample, device, seed) => {
        const kernel = checkInterpreted(sample, seed, device, streamedWith({ cluster: 2 }));
        if (kernel.cluster === 2) paired += 1;
      }),
      { numRuns: 3 },
    );
    expect(paired).toBeGreaterThan(0);
  }, 120_000);

  it("are right on the PTX simulator, with no finding", () => {
    fc.assert(
      fc.property(pairedProducts, few, fc.nat(1000), (sample, device, seed) =>
        checkSimulated(sample, seed, device, streamedWith({ cluster: 2 })),
      ),
      { numRuns: 3 },
    );
  }, 120_000);
});
