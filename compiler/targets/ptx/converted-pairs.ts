/**
 * Which conversions to 8-bit floats are made two at a time, as the instruction makes them: neighbours in a word that is
 * stored or packed, one right after the other in the same body, which nothing else uses. Then they are half as many, and
 * no byte is put beside another.
 */
import type { Op, Value } from "../../kernel/ir.ts";
import { partsOf } from "../../kernel/walk.ts";

export interface ConvertedPair {
  readonly format: "e4m3" | "e5m2";
  /** Results, and what they are of. */
  readonly low: Op<"convert">;
  readonly high: Op<"convert">;
}

const bytesOfWord = 4;

/** By each of both results. Words are made of two pairs or of none. */
export function convertedPairs(body: readonly Op[]): ReadonlyMap<Value, ConvertedPair> {
  const uses = new Map<Value, number>();
  const adjacent = new Map<Value, ConvertedPair>();
  const words: (readonly Value[])[] = [];
  const visit = (ops: readonly Op[]): void => {
    for (const [at, op] of ops.entries()) {
      for (const value of partsOf(op).operands) uses.set(value, (uses.get(value) ?? 0) + 1);
      const pair = pairOf(op, ops[at + 1]);
      if (pair !== undefined) adjacent.set(pair.low.dst, pair);
      if (op.kind === "store") words.push(...wordsOf(op.values));
      if (op.kind === "pack") words.push(...wordsOf(op.parts));
      for (const nested of partsOf(op).bodies) visit(nested);
    }
  };
  visit(body);
  const found = new Map<Value, ConvertedPair>();
  for (const [first, second, third, fourth] of words) {
    if (first === undefined || third === undefined) continue;
    const [low, high] = [adjacent.get(first), adjacent.get(third)];
    if (low === undefined || high === undefined || low.high.dst !== second || high.high.dst !== fourth)
      continue;
    const values = [low, high].flatMap((pair) => [pair.low.dst, pair.high.dst]);
    if (values.some((value) => uses.get(value) !== 1)) continue;
    for (const pair of [low, high]) for (const { dst } of [pair.low, pair.high]) found.set(dst, pair);
  }
  return found;
}

function pairOf(op: Op, next: Op | undefined): ConvertedPair | undefined {
  if (op.kind !== "convert" || next?.kind !== "convert" || op.storage !== next.storage) return undefined;
  const { storage: format } = op;
  if (format !== "e4m3" && format !== "e5m2") return undefined;
  const areStored = [op, next].every(({ a, dst }) => a.type === "f32" && dst.type === "b8");
  return areStored ? { format, low: op, high: next } : undefined;
}

function wordsOf(values: readonly Value[]): (readonly Value[])[] {
  if (values[0]?.type !== "b8" || values.length % bytesOfWord !== 0) return [];
  return Array.from({ length: values.length / bytesOfWord }, (_, k) =>
    values.slice(k * bytesOfWord, (k + 1) * bytesOfWord),
  );
}
