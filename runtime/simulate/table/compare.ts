/** Comparison and selection (PTX ISA 9.7.6; 9.7.7 for f16 and bf16). */
import type { Choices, LaneRow } from "./row.ts";

const bits = "type:b16|b32|b64";
const unsigned = "type:u16|u32|u64";
const signed = "type:s16|s32|s64";
const ordered = "eq|ne|lt|le|gt|ge";
const floating = `${ordered}|equ|neu|ltu|leu|gtu|geu|num|nan`;

/** Which comparisons each family of types has, and whether it may flush (9.7.6.2). */
const families: readonly (readonly [string, string, string])[] = [
  ["cmp:eq|ne", "", bits],
  [`cmp:${ordered}|lo|ls|hi|hs`, "", unsigned],
  [`cmp:${ordered}`, "", signed],
  [`cmp:${floating}`, "ftz?ftz.", "type:f16|f32"],
  [`cmp:${floating}`, "", "type:bf16|f64"],
];
const types = "type:b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64";

const symbols: Readonly<Record<string, string>> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
  lo: "<",
  ls: "<=",
  hi: ">",
  hs: ">=",
};

/** Ordered comparisons are false when an operand is NaN; those that end in u are true (9.7.6.2). */
function compare(x: Choices, a = "a", b = "b"): string {
  const cmp = x["cmp"]!;
  const flush = x["type"]!.startsWith("f16") ? "H.flushF16" : "H.flush";
  const [p, q] = x["ftz"] === undefined ? [a, b] : [`${flush}(${a})`, `${flush}(${b})`];
  if (cmp === "num") return `(${p} == ${p} && ${q} == ${q})`;
  if (cmp === "nan") return `(${p} != ${p} || ${q} != ${q})`;
  if (cmp.length === 3) return `!(${p} ${inverse[cmp.slice(0, 2)]!} ${q} && ${p} == ${p} && ${q} == ${q})`;
  // JavaScript's != is true for NaN, and PTX's `ne` is the ordered one.
  if (cmp === "ne" && /f/.test(x["type"]!)) return `(${p} < ${q} || ${p} > ${q})`;
  return `(${p} ${symbols[cmp]!} ${q})`;
}

const inverse: Readonly<Record<string, string>> = {
  eq: "!=",
  ne: "==",
  lt: ">=",
  le: ">",
  gt: "<=",
  ge: "<",
};

function combine(x: Choices, comparison: string): string {
  switch (x["bool"]) {
    case "and":
      return `${comparison} && c`;
    case "or":
      return `${comparison} || c`;
    case "xor":
      return `${comparison} !== c`;
    default:
      return comparison;
  }
}

function setp(pattern: string, operands: string): LaneRow {
  return {
    pattern,
    section: "9.7.6.2",
    operands,
    is: (x) => combine(x, compare(x)),
    second: (x) => combine(x, `!${compare(x)}`),
  };
}

const one = (x: Choices): string => (x["to"] === "f32" ? "1" : "-1");

// For a pair of halves the two predicates are the two comparisons, the lower half first (9.7.7.2).
const halfOf = (x: Choices, name: string, part: number): string =>
  `H.${x["type"]!.replace("x2", "")}ToNumber(${part === 0 ? `${name} & 0xffff` : `${name} >>> 16`})`;

/** `set` has no 16-bit floats of its own width here: they are compared by `setp`. */
const setFamilies = families.map(
  ([cmp, ftz, type]) =>
    [
      cmp,
      type === "type:f16|f32" ? ftz : "",
      type.replace("f16|f32", "f32").replace("bf16|f64", "f64"),
    ] as const,
);

const compares: readonly LaneRow[] = [
  ...families.flatMap(([cmp, ftz, type]) => [
    setp(`setp.${cmp}.${ftz}${type}`, "d:pred a b"),
    setp(`setp.${cmp}.bool:and|or|xor.${ftz}${type}`, "d:pred a b c:pred"),
  ]),
  ...setFamilies.flatMap(([cmp, ftz, type]) => [
    {
      pattern: `set.${cmp}.${ftz}to:u32|s32|f32.${type}`,
      section: "9.7.6.1",
      operands: "d:to a b",
      is: (x: Choices) => `${compare(x)} ? ${one(x)} : 0`,
    },
    {
      pattern: `set.${cmp}.bool:and|or|xor.${ftz}to:u32|s32|f32.${type}`,
      section: "9.7.6.1",
      operands: "d:to a b c:pred",
      is: (x: Choices) => `(${combine(x, compare(x))}) ? ${one(x)} : 0`,
    },
  ]),
];

function packed(ftz: string, type: string): LaneRow {
  return {
    pattern: `setp.cmp:${floating}.${ftz}${type}`,
    section: "9.7.7.2",
    operands: "d:pred a:b32 b:b32",
    is: (x) => compare(x, halfOf(x, "a", 0), halfOf(x, "b", 0)),
    second: (x) => compare(x, halfOf(x, "a", 1), halfOf(x, "b", 1)),
  };
}

export const compareRows: readonly LaneRow[] = [
  ...compares,
  packed("ftz?ftz.", "type:f16x2"),
  packed("", "type:bf16x2"),
  { pattern: `selp.${types}`, section: "9.7.6.3", operands: "d:bits a:bits b:bits c:pred", is: "c ? a : b" },
  {
    pattern: `slct.${types}.cond:s32`,
    section: "9.7.6.4",
    operands: "d:bits a:bits b:bits c:cond",
    is: "c >= 0 ? a : b",
  },
  {
    pattern: `slct.ftz?ftz.${types}.cond:f32`,
    section: "9.7.6.4",
    operands: "d:bits a:bits b:bits c:cond",
    is: (x) => (x["ftz"] === undefined ? "c >= 0 ? a : b" : "H.flush(c) >= 0 ? a : b"),
  },
];
