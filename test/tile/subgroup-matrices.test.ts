/** Contractions by a subgroup's matrix instructions: the tile program and the kernel compute what the loop means. */
import { describe, expect, it } from "vitest";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { printKernel } from "../../compiler/kernel/print.ts";
import { lowerTileProgram } from "../../compiler/kernel/from-tile/lower.ts";
import type { Kernel } from "../../compiler/kernel/ir.ts";
import { improve } from "../../compiler/kernel/passes/index.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { collectOps } from "../../compiler/kernel/walk.ts";
import { wgslMatrixCaps } from "../../compiler/targets/wgsl/caps.ts";
import { wgsl } from "../../compiler/targets/wgsl/index.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { disagreement, makeCase, runTiles, type Case } from "./agreement.ts";
import { runKernel } from "./kernel-run.ts";
import { productOf, type Product, type Sample } from "./random-loops.ts";

const caps = wgslMatrixCaps;
const plain: Product = {
  batch: 0,
  m: 64,
  heads: 1,
  n: 64,
  k: 64,
  scaled: "",
  twice: false,
  dynamic: false,
  dtype: "f16",
  outDtype: "f16",
  leftAlongK: true,
  rightAlongK: true,
  biased: false,
  transposed: false,
};

const products: Readonly<Record<string, Product>> = {
  "whole tiles": plain,
  "tails on every side, rows of an unknown number": {
    ...plain,
    m: 24,
    heads: 2,
    n: 72,
    k: 40,
    dynamic: true,
    biased: true,
  },
  "both factors across k, the right one computed": {
    ...plain,
    batch: 2,
    m: 16,
    n: 70,
    k: 33,
    scaled: "right",
    outDtype: "f32",
    leftAlongK: false,
    rightAlongK: false,
  },
  "a transposed result of bf16": {
    ...plain,
    m: 32,
    outDtype: "bf16",
    rightAlongK: false,
    scaled: "left",
    transposed: true,
  },
};

describe.each(Object.entries(products))("%s", (_name, product) => {
  const sample = productOf(product);
  const one = makeCase(sample, caps, 7);

  it("is right in the tile interpreter, and can be written down", () => {
    const text = print(one.program);
    expect(text).toContain("fragment");
    expect(print(parse(text))).toBe(text);
    expect(disagreement(one.expected, runTiles(one, sample.dims))).toBeUndefined();
  }, 60_000);

  it("is right in the kernel interpreter, before and after it is made legal", () => {
    const kernel = improve(lowerTileProgram(one.program, caps));
    const legal = wgsl.legalize(kernel, caps);
    expect([...verifyKernel(kernel), ...verifyKernel(legal)]).toEqual([]);
    const text = printKernel(legal);
    expect(printKernel(parseKernel(text))).toBe(text);
    expect(multipliesMatrices(legal)).toBe(true);
    for (const each of [kernel, legal])
      expect(disagreement(one.expected, interpreted(each, one, sample))).toBeUndefined();
  }, 60_000);
});

function multipliesMatrices(kernel: Kernel): boolean {
  return collectOps(kernel.body, "instruction").some((op) => op.name === "matrix.m16n16k16.f16");
}

/** What the kernel writes. */
function interpreted(kernel: Kernel, { program, inputs }: Case, { dims }: Sample): number[][] {
  const bytes = new Map(program.buffers.map((buffer, k) => [buffer, inputs[k]?.bytes]));
  const written = runKernel(kernel, program, (buffer) => bytes.get(buffer), {
    dims,
    subgroup: caps.subgroup,
  });
  return [...written.values()];
}
