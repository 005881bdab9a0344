/**
 * Loads, stores and atomics. Elements below 32 bits move as words where there are several of them, and are taken
 * apart in registers: 8 bf16 are one `v4.b32`.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Op, Value } from "../../kernel/ir.ts";
import type { Context } from "./context.ts";
import { joinWord, splitWord } from "./convert.ts";
import { bytesOf, classOf, type RegisterClass } from "./registers.ts";

/** How `count` elements of `bytes` bytes move: `words` registers of a type, with `parts` elements in each. */
interface Access {
  /** With its vector length: `v4.b32`. */
  readonly type: string;
  readonly word: RegisterClass;
  readonly words: number;
  readonly parts: number;
}

function accessOf(elements: readonly Value[], bytes: number): Access {
  const count = elements.length;
  const type = elements[0]?.type;
  invariant(type !== undefined && count * bytes <= 16, `an access of ${count} elements of ${bytes} bytes`);
  const vector = (words: number, name: string): string => (words === 1 ? name : `v${words}.${name}`);
  if (bytes >= 4) {
    const word = classOf(type);
    return { type: vector(count, word), word, words: count, parts: 1 };
  }
  const total = count * bytes;
  if (total >= 4) return { type: vector(total / 4, "b32"), word: "b32", words: total / 4, parts: 4 / bytes };
  if (bytes === 2) return { type: "b16", word: "b16", words: 1, parts: 1 };
  return { type: `u${8 * total}`, word: "b32", words: 1, parts: count };
}

export function emitLoad(op: Op<"load">, cx: Context): void {
  const access = accessOf(op.dst, bytesOf(op.buffer.dtype));
  const address = cx.address(op.buffer, op.index);
  const guard = op.guard === undefined ? "" : `@${cx.register(op.guard)} `;
  const isDirect = access.parts === 1 && op.dst[0]?.type !== "bool";
  const defined = isDirect ? op.dst.map((dst) => cx.define(dst)) : undefined;
  const words =
    defined ??
    Array.from({ length: access.words }, () =>
      cx.temporary(access.word, `${op.dst[0]?.hint ?? "word"}_word`),
    );
  if (op.guard !== undefined) {
    const filling = fill(op, access, cx);
    for (const word of words) cx.instruction(`mov.${access.word} ${word}, ${filling}`);
  }
  cx.instruction(`${guard}ld.${spaceOf(op, cx)}.${access.type} ${list(words)}, ${address}`);
  if (!isDirect) takeApart(op.dst, access, words, cx);
}

/** `.nc`: nobody writes the buffer while the kernel runs, the launch ahead included. */
function spaceOf(op: Op<"load">, cx: Context): string {
  if (op.buffer.space === "shared") return "shared";
  return op.buffer.access === "read" && !cx.beginsEarly ? "global.nc" : "global";
}

/** What a word holds where the guard is false. */
function fill(op: Op<"load">, access: Access, cx: Context): string {
  const { otherwise } = op;
  const zero = access.word === "f32" ? "0f00000000" : "0";
  if (otherwise === undefined) return zero;
  if (otherwise.type === "bool") {
    const byte = cx.temporary("b32", "otherwise");
    cx.instruction(`selp.b32 ${byte}, 1, 0, ${cx.register(otherwise)}`);
    return repeat(byte, access, cx);
  }
  const constant = cx.constantOf(otherwise);
  if (access.parts === 1) return cx.use(otherwise);
  if (constant === 0) return zero;
  const element = cx.register(otherwise);
  if (classOf(otherwise.type) !== "b16") return repeat(element, access, cx);
  const word = cx.temporary("b32", "otherwise");
  joinWord(cx, "b16", [element, element], word);
  return word;
}

function repeat(byte: string, access: Access, cx: Context): string {
  if (access.parts === 1) return byte;
  const word = cx.temporary("b32", "otherwise");
  cx.instruction(`mul.lo.u32 ${word}, ${byte}, ${access.parts === 4 ? "0x01010101" : "0x0101"}`);
  return word;
}

function takeApart(dst: readonly Value[], access: Access, words: readonly string[], cx: Context): void {
  for (const [i, word] of words.entries()) {
    const elements = dst.slice(i * access.parts, (i + 1) * access.parts);
    const isBool = elements[0]?.type === "bool";
    if (access.parts === 4 && elements.every((element, at) => cx.leaveInWord(element, word, at))) continue;
    const parts = elements.map((element) => (isBool ? cx.temporary("b32", "byte") : cx.define(element)));
    const bytes = access.parts === 1 ? [word] : parts;
    if (access.parts > 1)
      splitWord(cx, classOf(elements[0]?.type ?? "b8") === "b16" ? "b16" : "b32", word, parts);
    if (!isBool) continue;
    for (const [j, element] of elements.entries())
      cx.instruction(`setp.ne.b32 ${cx.define(element)}, ${bytes[j] ?? word}, 0`);
  }
}

export function emitStore(op: Op<"store">, cx: Context): void {
  const access = accessOf(op.values, bytesOf(op.buffer.dtype));
  const words = Array.from({ length: access.words }, (_, i) =>
    putTogether(op, access, op.values.slice(i * access.parts, (i + 1) * access.parts), cx),
  );
  const address = cx.address(op.buffer, op.index);
  const guard = op.guard === undefined ? "" : `@${cx.register(op.guard)} `;
  cx.instruction(`${guard}st.${op.buffer.space}.${access.type} ${address}, ${list(words)}`);
}

function storable(value: Value, access: Access, cx: Context): string {
  if (value.type !== "bool")
    return access.words === 1 && access.parts === 1 && classOf(value.type) !== "b16"
      ? cx.use(value)
      : cx.register(value);
  const byte = cx.temporary("b32", "byte");
  cx.instruction(`selp.b32 ${byte}, 1, 0, ${cx.register(value)}`);
  return byte;
}

function putTogether(op: Op<"store">, access: Access, values: readonly Value[], cx: Context): string {
  const pairs = cx.pairsOfWord(values);
  const elements = pairs ?? values.map((value) => storable(value, access, cx));
  const [only = ""] = elements;
  if (access.parts === 1) return only;
  const word = cx.temporary("b32", `${op.buffer.name}_word`);
  const areHalves = pairs !== undefined || classOf(op.values[0]?.type ?? "b8") === "b16";
  joinWord(cx, areHalves ? "b16" : "b32", elements, word);
  return word;
}

function list(registers: readonly string[]): string {
  return registers.length === 1 ? (registers[0] ?? "") : `{${registers.join(", ")}}`;
}

export function emitAtomic(op: Op<"atomic">, cx: Context): void {
  const isBits = op.fn === "and" || op.fn === "or";
  const type = isBits ? "b32" : op.value.type === "u32" || op.fn === "add" ? "u32" : "s32";
  const value = cx.use(op.value);
  const address = cx.address(op.buffer, op.index);
  const guard = op.guard === undefined ? "" : `@${cx.register(op.guard)} `;
  cx.instruction(`${guard}red.${op.buffer.space}.${op.fn}.${type} ${address}, ${value}`);
}
