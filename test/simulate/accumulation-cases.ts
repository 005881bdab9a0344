/**
 * How tensor cores add: one instruction a case, on operands that tell apart which bits are kept when products are
 * aligned, where they are cut, and what zeros and subnormals count for. Where an element lies is tested elsewhere, so
 * the operands' bytes are random in whatever place.
 */
import { header, type Sample } from "./harness.ts";

interface Element {
  readonly bits: number;
  readonly mantissa: number;
  readonly bias: number;
}

const elements: Readonly<Record<string, Element>> = {
  f16: { bits: 16, mantissa: 10, bias: 15 },
  bf16: { bits: 16, mantissa: 7, bias: 127 },
  tf32: { bits: 32, mantissa: 23, bias: 127 },
  e4m3: { bits: 8, mantissa: 3, bias: 7 },
  e5m2: { bits: 8, mantissa: 2, bias: 15 },
  f32: { bits: 32, mantissa: 23, bias: 127 },
};

/** Unbiased exponents of A, B and C, from and to; part of A and B that is zero. */
interface Operands {
  readonly name: string;
  readonly a: readonly [number, number] | "subnormal";
  readonly b: readonly [number, number];
  readonly c: readonly [number, number] | "subnormal";
  readonly zeros: number;
  /** Part of them that is infinite or no number. */
  readonly special?: number;
}

const operandSets: readonly Operands[] = [
  { name: "near", a: [-1, 0], b: [-1, 0], c: [-2, 4], zeros: 0 },
  { name: "wide", a: [-5, 5], b: [-5, 5], c: [-12, 12], zeros: 0.1 },
  { name: "zeros", a: [-4, 4], b: [-5, 6], c: [-10, 2], zeros: 0.7 },
  { name: "large-sum", a: [-3, 1], b: [-3, 1], c: [8, 20], zeros: 0 },
  { name: "small-sum", a: [-1, 5], b: [-1, 5], c: [-24, -6], zeros: 0 },
  { name: "subnormal", a: "subnormal", b: [-2, 5], c: [-40, -30], zeros: 0.2 },
  { name: "subnormal-sum", a: [-68, -60], b: [-70, -60], c: "subnormal", zeros: 0.1 },
  { name: "special", a: [-1, 1], b: [-1, 1], c: [-2, 4], zeros: 0.2, special: 0.01 },
];

function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** The bits of a random element. */
function element(
  { bits, mantissa, bias }: Element,
  range: readonly [number, number] | "subnormal",
  { zeros, special = 0 }: { readonly zeros: number; readonly special?: number },
  next: () => number,
): number {
  const sign = next() < 0.5 ? 0 : 2 ** (bits - 1);
  const fraction = Math.floor(next() * 2 ** mantissa);
  const high = 2 ** (bits - 1 - mantissa) - 2;
  const place = next();
  const zero = next() < zeros;
  if (zero) return sign;
  if (next() < special) return sign + (high + 1) * 2 ** mantissa + (place < 0.5 ? 0 : 2 ** mantissa - 1);
  if (range === "subnormal") return sign + Math.floor(fraction / 2 ** Math.floor(place * mantissa));
  const exponent = bias + range[0] + Math.floor(place * (range[1] - range[0] + 1));
  return sign + Math.min(high, Math.max(1, exponent)) * 2 ** mantissa + fraction;
}

/** `count` words of elements. */
function words(
  type: string,
  count: number,
  range: readonly [number, number] | "subnormal",
  parts: { readonly zeros: number; readonly special?: number },
  next: () => number,
): Uint32Array {
  const of = elements[type];
  if (of === undefined) throw new Error(`no element ${type}`);
  return Uint32Array.from({ length: count }, () => {
    let word = 0;
    for (let at = 0; at < 32; at += of.bits) word += element(of, range, parts, next) * 2 ** at;
    return word;
  });
}

interface Product {
  readonly opcode: string;
  /** Of A, B and C or D. */
  readonly types: readonly [string, string, string];
  /** Words of A, B, and C or D that a thread holds; of wgmma, bytes of A and B in shared memory. */
  readonly sizes: readonly [number, number, number];
}

const mma = (shape: string, d: string, a: string, b: string, sizes: Product["sizes"]): Product => ({
  opcode: `mma.sync.aligned.${shape}.row.col.${d}.${a}.${b}.${d}`,
  types: [a, b, d],
  sizes,
});

const warpProducts: readonly Product[] = [
  mma("m16n8k16", "f32", "f16", "f16", [4, 2, 4]),
  mma("m16n8k16", "f16", "f16", "f16", [4, 2, 2]),
  mma("m16n8k16", "f32", "bf16", "bf16", [4, 2, 4]),
  mma("m16n8k8", "f32", "f16", "f16", [2, 1, 4]),
  mma("m16n8k8", "f32", "bf16", "bf16", [2, 1, 4]),
  mma("m16n8k8", "f32", "tf32", "tf32", [4, 2, 4]),
  mma("m16n8k4", "f32", "tf32", "tf32", [2, 1, 4]),
  mma("m16n8k32", "f32", "e4m3", "e4m3", [4, 2, 4]),
  mma("m16n8k32", "f32", "e5m2", "e4m3", [4, 2, 4]),
  mma("m16n8k8", "f16", "f16", "f16", [2, 1, 2]),
  mma("m16n8k16", "f32", "e4m3", "e5m2", [2, 1, 4]),
  mma("m16n8k16", "f16", "e4m3", "e4m3", [2, 1, 2]),
  mma("m16n8k32", "f16", "e5m2", "e5m2", [4, 2, 2]),
];

const wgmma = (k: number, d: string, a: string, b: string): Product => ({
  opcode: `wgmma.mma_async.sync.aligned.m64n8k${k}.${d}.${a}.${b}`,
  types: [a, b, d],
  sizes: [2048, 256, d === "f16" ? 2 : 4],
});

const groupProducts: readonly Product[] = [
  wgmma(32, "f32", "e4m3", "e4m3"),
  wgmma(32, "f32", "e5m2", "e5m2"),
  wgmma(32, "f32", "e4m3", "e5m2"),
  wgmma(32, "f16", "e4m3", "e4m3"),
  wgmma(32, "f16", "e5m2", "e4m3"),
  wgmma(16, "f32", "f16", "f16"),
  wgmma(16, "f16", "f16", "f16"),
  wgmma(16, "f32", "bf16", "bf16"),
  wgmma(8, "f32", "tf32", "tf32"),
];

const list = (name: string, count: number): string =>
  Array.from({ length: count }, (_, k) => `${name}${k}`).join(", ");

/** Products of 8-bit floats with f16 sums, or with half the depth, came with PTX ISA 8.7. */
const headerOf = ({ opcode, types }: Product): string =>
  types[0].startsWith("e") && (types[2] === "f16" || opcode.includes("m16n8k16"))
    ? header().replace(/\.version \S+/, ".version 8.7")
    : header();

/** Each thread's operands are neighbours in memory: A's words, B's, C's. */
function warpKernel(product: Product): string {
  const { opcode, types, sizes } = product;
  const [a, b, c] = sizes;
  const result = types[2] === "f32" ? "f32" : "b32";
  const load = (name: string, count: number, first: number): string =>
    Array.from({ length: count }, (_, k) => `  ld.global.b32 ${name}${k}, [in+${4 * (first + k)}];`).join(
      "\n",
    );
  return `${headerOf(product)}.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .b32 t, a<${a}>, b<${b}>; .reg .${result} c<${c}>; .reg .b64 in, out;
  mov.u32 t, %ctaid.x;
  mov.u32 a0, %tid.x;
  mad.lo.u32 t, t, 32, a0;
  ld.param.u64 in, [pIn]; ld.param.u64 out, [pOut];
  mad.wide.u32 in, t, ${4 * (a + b + c)}, in;
  mad.wide.u32 out, t, ${4 * c}, out;
${load("a", a, 0)}
${load("b", b, a)}
${load("c", c, a + b)}
  ${opcode} {${list("c", c)}}, {${list("a", a)}}, ${b === 1 ? "{b0}" : `{${list("b", b)}}`}, {${list("c", c)}};
${Array.from({ length: c }, (_, k) => `  st.global.b32 [out+${4 * k}], c${k};`).join("\n")}
  ret;
}
`;
}

/** A and B as they come to shared memory, in core matrices without swizzle; C is each thread's own. */
function groupKernel({ opcode, types, sizes }: Product): string {
  const [a, b, c] = sizes;
  const result = types[2] === "f32" ? "f32" : "b32";
  const descriptor = ((128n >> 4n) << 16n) | ((256n >> 4n) << 32n);
  const transposed = types[0] === "f16" || types[0] === "bf16" ? ", 0, 0" : "";
  const copy = Array.from(
    { length: Math.ceil((a + b) / 512) },
    (_, k) => `  setp.lt.u32 p, t, ${(a + b - 512 * k) / 4};
  @p ld.global.b32 w, [in+${512 * k}];
  @p st.shared.b32 [s+${512 * k}], w;`,
  ).join("\n");
  return `${header()}.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .pred p; .reg .b32 t, s, w; .reg .${result} c<${c}>; .reg .b64 in, out, sums, da, db;
  .shared .align 1024 .b8 memory[${a + b}];
  mov.u32 t, %tid.x;
  ld.param.u64 in, [pIn]; ld.param.u64 out, [pOut];
  mad.wide.u32 sums, t, ${4 * c}, in;
  mad.wide.u32 out, t, ${4 * c}, out;
  mad.wide.u32 in, t, 4, in;
  mov.u32 w, memory;
  mad.lo.u32 s, t, 4, w;
  shr.u32 w, w, 4;
  cvt.u64.u32 da, w;
  and.b64 da, da, 0x3fff;
  add.u64 db, da, ${a / 16};
  or.b64 da, da, 0x${descriptor.toString(16)};
  or.b64 db, db, 0x${descriptor.toString(16)};
${copy}
${Array.from({ length: c }, (_, k) => `  ld.global.b32 c${k}, [sums+${a + b + 4 * k}];`).join("\n")}
  fence.proxy.async.shared::cta;
  bar.sync 0;
  setp.eq.u32 p, t, t;
  wgmma.fence.sync.aligned;
  ${opcode} {${list("c", c)}}, da, db, p, 1, 1${transposed};
  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
${Array.from({ length: c }, (_, k) => `  st.global.b32 [out+${4 * k}], c${k};`).join("\n")}
  ret;
}
`;
}

const warpBlocks = 4;

/** Every product on every set of operands. */
export function accumulationCases(): readonly Sample[] {
  const check = (): void => undefined;
  let seed = 1;
  const filled = ({ types, sizes }: Product, set: Operands, threads: number, own: boolean): Uint32Array => {
    const next = generator(seed++);
    const [a, b, c] = sizes;
    const parts = (): readonly Uint32Array[] => [
      words(types[0], own ? a : a / 4, set.a, set, next),
      words(types[1], own ? b : b / 4, set.b, set, next),
    ];
    const sums = (count: number): Uint32Array => words(types[2], count, set.c, { ...set, zeros: 0.1 }, next);
    const all = own
      ? Array.from({ length: threads }, () => [...parts(), sums(c)]).flat()
      : [...parts(), sums(c * threads)];
    return Uint32Array.from(all.flatMap((part) => [...part]));
  };
  return operandSets.flatMap((set) => [
    ...warpProducts.map((product): Sample => ({
      name: `${product.opcode} ${set.name}`,
      ptx: warpKernel(product),
      grid: warpBlocks,
      block: 32,
      args: [
        { in: filled(product, set, 32 * warpBlocks, true) },
        { out: 4 * product.sizes[2] * 32 * warpBlocks },
      ],
      check,
    })),
    ...groupProducts.map((product): Sample => ({
      name: `${product.opcode} ${set.name}`,
      ptx: groupKernel(product),
      grid: 1,
      block: 128,
      args: [{ in: filled(product, set, 128, false) }, { out: 4 * product.sizes[2] * 128 }],
      check,
    })),
  ]);
}
