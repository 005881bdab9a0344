/** Conversions, and words put together and taken apart. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Op, Value, ValueType } from "../../kernel/ir.ts";
import type { Conversion } from "../nvidia/caps.ts";
import type { Context } from "./context.ts";
import { classOf, type RegisterClass } from "./registers.ts";

type Spelling = (cx: Context, dst: string, a: string) => void;

/** One instruction. */
function direct(opcode: string): Spelling {
  return (cx, dst, a) => cx.instruction(`${opcode} ${dst}, ${a}`);
}

/** Into a byte: the converted number with zeros above. */
function toByte(opcode: string): Spelling {
  return (cx, dst, a) => {
    const wide = cx.temporary("b32", "wide");
    cx.instruction(`${opcode} ${wide}, ${a}`);
    cx.instruction(`and.b32 ${dst}, ${wide}, 255`);
  };
}

function fromBool(type: string, one: string, zero: string): Spelling {
  return (cx, dst, a) => cx.instruction(`selp.${type} ${dst}, ${one}, ${zero}, ${a}`);
}

function toBool(type: string, zero: string): Spelling {
  return (cx, dst, a) =>
    cx.instruction(`setp.${type === "f32" ? "neu" : "ne"}.${type} ${dst}, ${a}, ${zero}`);
}

/** The instruction converts two at a time; the upper one is zero here. */
function toFp8(format: "e4m3" | "e5m2"): Spelling {
  return (cx, dst, a) => {
    const pair = cx.temporary("b16", "pair");
    cx.instruction(`cvt.rn.satfinite.${format}x2.f32 ${pair}, 0f00000000, ${a}`);
    cx.instruction(`cvt.u32.u16 ${dst}, ${pair}`);
  };
}

function fromFp8(format: "e4m3" | "e5m2"): Spelling {
  return (cx, dst, a) => {
    const pair = cx.temporary("b16", "pair");
    cx.instruction(`cvt.u16.u32 ${pair}, ${a}`);
    cx.instruction(`cvt.f32.f16 ${dst}, ${halvesOf(cx, format, pair)[0]}`);
  };
}

function halvesOf(cx: Context, format: "e4m3" | "e5m2", pair: string): readonly [string, string] {
  const halves = cx.temporary("b32", "halves");
  const [low, high] = [cx.temporary("b16", "low"), cx.temporary("b16", "high")];
  cx.instruction(`cvt.rn.f16x2.${format}x2 ${halves}, ${pair}`);
  cx.instruction(`mov.b32 {${low}, ${high}}, ${halves}`);
  return [low, high];
}

/** A byte of a word that was loaded: its neighbour is converted along with it, once. */
function fromFp8InWord(
  cx: Context,
  format: "e4m3" | "e5m2",
  dst: string,
  { word, at }: { readonly word: string; readonly at: number },
): void {
  const pairs = cx.once(`pairs of ${word}`, () => {
    const parts = [cx.temporary("b16", "pair"), cx.temporary("b16", "pair")];
    cx.instruction(`mov.b32 {${parts.join(", ")}}, ${word}`);
    return parts.join(" ");
  });
  const pair = pairs.split(" ")[at >> 1] ?? "";
  const halves = cx.once(`${format} of ${pair}`, () => halvesOf(cx, format, pair).join(" "));
  cx.instruction(`cvt.f32.f16 ${dst}, ${halves.split(" ")[at & 1] ?? ""}`);
}

/** PTX gives the smallest i64 for a NaN. */
const floatToInt64: Spelling = (cx, dst, a) => {
  const whole = cx.temporary("b64", "whole");
  const isNumber = cx.temporary("pred", "is_number");
  cx.instruction(`cvt.rzi.s64.f32 ${whole}, ${a}`);
  cx.instruction(`setp.num.f32 ${isNumber}, ${a}, ${a}`);
  cx.instruction(`selp.b64 ${dst}, ${whole}, 0, ${isNumber}`);
};

/** bf16 is the upper half of an f32. */
const fromBf16: Spelling = (cx, dst, a) => cx.instruction(`mov.b32 ${dst}, {0, ${a}}`);

const table: Readonly<Record<Conversion, Spelling>> = {
  "f32>f16": direct("cvt.rn.f16.f32"),
  "f16>f32": direct("cvt.f32.f16"),
  "f32>bf16": direct("cvt.rn.bf16.f32"),
  "bf16>f32": fromBf16,
  "f32>e4m3": toFp8("e4m3"),
  "f32>e5m2": toFp8("e5m2"),
  "e4m3>f32": fromFp8("e4m3"),
  "e5m2>f32": fromFp8("e5m2"),

  "f32>i32": direct("cvt.rzi.s32.f32"),
  "f32>u32": direct("cvt.rzi.u32.f32"),
  "f32>i64": floatToInt64,
  "f32>i8": toByte("cvt.rzi.s8.f32"),
  "f32>u8": toByte("cvt.rzi.u8.f32"),
  "i32>f32": direct("cvt.rn.f32.s32"),
  "u32>f32": direct("cvt.rn.f32.u32"),
  "i64>f32": direct("cvt.rn.f32.s64"),
  "i8>f32": direct("cvt.rn.f32.s8"),
  "u8>f32": direct("cvt.rn.f32.u8"),

  "i32>u32": direct("mov.b32"),
  "u32>i32": direct("mov.b32"),
  "i32>i64": direct("cvt.s64.s32"),
  "u32>i64": direct("cvt.u64.u32"),
  "i64>i32": direct("cvt.sat.s32.s64"),
  "i64>u32": direct("cvt.sat.u32.s64"),
  "i8>i32": direct("cvt.s32.s8"),
  "i8>u32": direct("cvt.sat.u32.s8"),
  "i8>i64": direct("cvt.s64.s8"),
  "u8>i32": direct("mov.b32"),
  "u8>u32": direct("mov.b32"),
  "u8>i64": direct("cvt.u64.u32"),
  "i32>i8": toByte("cvt.sat.s8.s32"),
  "i32>u8": toByte("cvt.sat.u8.s32"),
  "u32>i8": toByte("cvt.sat.s8.u32"),
  "u32>u8": toByte("cvt.sat.u8.u32"),
  "i64>i8": toByte("cvt.sat.s8.s64"),
  "i64>u8": toByte("cvt.sat.u8.s64"),

  "bool>f32": fromBool("f32", "0f3F800000", "0f00000000"),
  "bool>i32": fromBool("b32", "1", "0"),
  "bool>u32": fromBool("b32", "1", "0"),
  "bool>i64": fromBool("b64", "1", "0"),
  "bool>i8": fromBool("b32", "1", "0"),
  "bool>u8": fromBool("b32", "1", "0"),
  "f32>bool": toBool("f32", "0f00000000"),
  "i32>bool": toBool("s32", "0"),
  "u32>bool": toBool("u32", "0"),
  "i64>bool": toBool("s64", "0"),
  "i8>bool": toBool("u32", "0"),
  "u8>bool": toBool("u32", "0"),
};

function isConversion(name: string): name is Conversion {
  return Object.hasOwn(table, name);
}

export function emitConvert(op: Op<"convert">, cx: Context): void {
  const side = (value: Value): string => (value.type === "b8" ? (op.storage ?? "b8") : value.type);
  const name = `${side(op.a)}>${side(op.dst)}`;
  invariant(
    isConversion(name) && cx.caps.converts.includes(name),
    `${cx.caps.target} has no conversion ${name}`,
  );
  const place = cx.placeInWord(op.a);
  if (place !== undefined && (op.storage === "e4m3" || op.storage === "e5m2") && op.dst.type === "f32") {
    fromFp8InWord(cx, op.storage, cx.define(op.dst), place);
    return;
  }
  const pair = cx.convertedPair(op.dst);
  if (pair !== undefined) {
    // The first waits for the second, which is the next op.
    if (pair.low === op) return;
    const [low, high] = [cx.register(pair.low.a), cx.register(op.a)];
    cx.instruction(`cvt.rn.satfinite.${pair.format}x2.f32 ${cx.definePair(pair)}, ${high}, ${low}`);
    return;
  }
  const a = cx.register(op.a);
  table[name](cx, cx.define(op.dst), a);
}

export function emitBitcast(op: Op<"bitcast">, cx: Context): void {
  const from = op.a.type;
  const to = op.dst.type;
  const a = cx.register(op.a);
  const dst = cx.define(op.dst);
  if (isHalf(from) && isHalf(to)) cx.instruction(`mov.b16 ${dst}, ${a}`);
  else if (isHalf(from)) cx.instruction(`mov.b32 ${dst}, {${a}, 0}`);
  else if (isHalf(to)) cx.instruction(`cvt.u16.u32 ${dst}, ${a}`);
  else if (to === "b8") cx.instruction(`and.b32 ${dst}, ${a}, 255`);
  else cx.instruction(`mov.b32 ${dst}, ${a}`);
}

function isHalf(type: ValueType): boolean {
  return type === "f16" || type === "bf16";
}

export function emitPack(op: Op<"pack">, cx: Context): void {
  const [first, ...others] = op.parts.map((part) => cx.placeInWord(part));
  if (first !== undefined && others.every((other) => other?.word === first.word)) {
    cx.instruction(`mov.b32 ${cx.define(op.dst)}, ${first.word}`);
    return;
  }
  const pairs = cx.pairsOfWord(op.parts);
  if (pairs !== undefined) {
    cx.instruction(`mov.b32 ${cx.define(op.dst)}, {${pairs.join(", ")}}`);
    return;
  }
  const parts = op.parts.map((part) => cx.register(part));
  joinWord(cx, classOf(op.parts[0]?.type ?? "b8"), parts, cx.define(op.dst));
}

export function emitUnpack(op: Op<"unpack">, cx: Context): void {
  const a = cx.register(op.a);
  if (op.dst.length === 4) {
    // A word of its own: the register that it is read from may change before the last conversion.
    const word = cx.temporary("b32", "word");
    const left = op.dst.map((dst, at) => cx.leaveInWord(dst, word, at));
    if (left.some(Boolean)) cx.instruction(`mov.b32 ${word}, ${a}`);
    if (left.every(Boolean)) return;
  }
  splitWord(
    cx,
    classOf(op.dst[0]?.type ?? "b8"),
    a,
    op.dst.map((dst) => cx.define(dst)),
  );
}

/** Two halves in 16-bit registers, or two or four bytes in 32-bit ones with zeros above them, into a word, low part first. */
export function joinWord(
  cx: Context,
  parts: RegisterClass,
  [a = "", b = "", c, d]: readonly string[],
  word: string,
): void {
  if (parts === "b16") {
    cx.instruction(`mov.b32 ${word}, {${a}, ${b}}`);
    return;
  }
  const low = c === undefined ? word : cx.temporary("b32", "low");
  cx.instruction(`prmt.b32 ${low}, ${a}, ${b}, 0x3340`);
  if (c === undefined || d === undefined) return;
  const high = cx.temporary("b32", "high");
  cx.instruction(`prmt.b32 ${high}, ${c}, ${d}, 0x3340`);
  cx.instruction(`prmt.b32 ${word}, ${low}, ${high}, 0x5410`);
}

export function splitWord(cx: Context, parts: RegisterClass, word: string, into: readonly string[]): void {
  if (parts === "b16") {
    cx.instruction(`mov.b32 {${into.join(", ")}}, ${word}`);
    return;
  }
  for (const [i, part] of into.entries()) cx.instruction(`bfe.u32 ${part}, ${word}, ${8 * i}, 8`);
}
