/** Integer arithmetic (PTX ISA 9.7.1), extended precision (9.7.2), logic and shifts (9.7.8). */
import type { Choices, LaneRow } from "./row.ts";

const all = "type:u16|u32|u64|s16|s32|s64";
const words = "type:u32|s32";
const wide = (choices: Choices, name = "type"): boolean => choices[name]!.endsWith("64");
const signed = (choices: Choices, name = "type"): boolean => choices[name]!.startsWith("s");

/** The top half of a product, by BigInt for all widths; `>>` on a BigInt is arithmetic, as signed types need. */
function high({ type }: Choices): string {
  const bits = Number(type!.slice(1));
  if (bits === 64) return "(a * b) >> 64n";
  if (bits === 16) return "(a * b) >> 16";
  return "Number((BigInt(a) * BigInt(b)) >> 32n)";
}

const low = ({ type }: Choices): string => (type!.endsWith("64") ? "a * b" : "Math.imul(a, b)");
const long = ({ type }: Choices): string => (type!.endsWith("32") ? "BigInt(a) * BigInt(b)" : "a * b");

function divide(choices: Choices, operator: "/" | "%"): string {
  // Division by zero gives an unspecified, machine-specific value (9.7.1.8, 9.7.1.9); Hopper gives all ones for both.
  const onZero = wide(choices) ? "-1n" : "-1";
  const quotient = wide(choices) || operator === "%" ? `a ${operator} b` : "Math.trunc(a / b)";
  return `b == 0 ? ${onZero} : ${quotient}`;
}

function rows(section: string, list: readonly (readonly [string, string, LaneRow["is"]])[]): LaneRow[] {
  return list.map(([pattern, operands, is]) => ({ pattern, section, operands, is }));
}

const arithmetic = [
  ...rows("9.7.1.1", [
    [`add.${all}`, "d a b", "a + b"],
    ["add.sat.type:s32", "d a b", "Math.max(-2147483648, Math.min(2147483647, a + b))"],
    ["add.type:u16x2|s16x2", "d:b32 a:b32 b:b32", "((a + b) & 0xffff) | (((a >>> 16) + (b >>> 16)) << 16)"],
  ]),
  ...rows("9.7.1.2", [
    [`sub.${all}`, "d a b", "a - b"],
    ["sub.sat.type:s32", "d a b", "Math.max(-2147483648, Math.min(2147483647, a - b))"],
  ]),
  ...rows("9.7.1.3", [
    [`mul.lo.${all}`, "d a b", low],
    [`mul.hi.${all}`, "d a b", high],
    ["mul.wide.type:u16|u32|s16|s32", "d:2*type a b", long],
  ]),
  ...rows("9.7.1.4", [
    [`mad.lo.${all}`, "d a b c", (x) => `${low(x)} + c`],
    [`mad.hi.${all}`, "d a b c", (x) => `(${high(x)}) + c`],
    ["mad.wide.type:u16|u32|s16|s32", "d:2*type a b c:2*type", (x) => `${long(x)} + c`],
    ["mad.hi.sat.type:s32", "d a b c", (x) => `Math.max(-2147483648, Math.min(2147483647, ${high(x)} + c))`],
  ]),
  ...rows("9.7.1.5", [
    [
      `mul24.lo.${words}`,
      "d a b",
      (x) => `Math.imul(${signed(x) ? "a << 8 >> 8, b << 8 >> 8" : "a & 0xffffff, b & 0xffffff"})`,
    ],
    [
      `mad24.lo.${words}`,
      "d a b c",
      (x) => `Math.imul(${signed(x) ? "a << 8 >> 8, b << 8 >> 8" : "a & 0xffffff, b & 0xffffff"}) + c`,
    ],
  ]),
  ...rows("9.7.1.7", [[`sad.${all}`, "d a b c", "(a < b ? b - a : a - b) + c"]]),
  ...rows("9.7.1.8", [
    [`div.${all}`, "d a b", (x) => divide(x, "/")],
    [`rem.${all}`, "d a b", (x) => divide(x, "%")],
  ]),
  ...rows("9.7.1.10", [
    ["abs.type:s16|s32|s64", "d a", "a < 0 ? -a : a"],
    ["neg.type:s16|s32|s64", "d a", (x) => (wide(x) ? "-a" : "0 - a")],
  ]),
  ...rows("9.7.1.12", [
    [`min.${all}`, "d a b", "a < b ? a : b"],
    [`max.${all}`, "d a b", "a > b ? a : b"],
    ["min.relu.type:s32", "d a b", "Math.max(0, Math.min(a, b))"],
    ["max.relu.type:s32", "d a b", "Math.max(0, a, b)"],
    [
      "min.type:u16x2",
      "d:b32 a:b32 b:b32",
      "Math.min(a & 0xffff, b & 0xffff) | (Math.min(a >>> 16, b >>> 16) << 16)",
    ],
    [
      "max.type:u16x2",
      "d:b32 a:b32 b:b32",
      "Math.max(a & 0xffff, b & 0xffff) | (Math.max(a >>> 16, b >>> 16) << 16)",
    ],
    [
      "min.type:s16x2",
      "d:b32 a:b32 b:b32",
      "(Math.min(a << 16 >> 16, b << 16 >> 16) & 0xffff) | (Math.min(a >> 16, b >> 16) << 16)",
    ],
    [
      "max.type:s16x2",
      "d:b32 a:b32 b:b32",
      "(Math.max(a << 16 >> 16, b << 16 >> 16) & 0xffff) | (Math.max(a >> 16, b >> 16) << 16)",
    ],
  ]),
];

const bitFields = [
  ...rows("9.7.1.14", [["popc.type:b32|b64", "d:u32 a", (x) => `H.popc${wide(x) ? "64" : "32"}(a)`]]),
  ...rows("9.7.1.15", [["clz.type:b32|b64", "d:u32 a", (x) => (wide(x) ? "H.clz64(a)" : "Math.clz32(a)")]]),
  ...rows("9.7.1.16", [
    [
      "bfind.shiftamt?shiftamt.type:u32|u64|s32|s64",
      "d:u32 a",
      (x) => `H.bfind(a, ${x["type"]!.slice(1)}, ${x["shiftamt"] !== undefined})`,
    ],
  ]),
  ...rows("9.7.1.17", [["fns.b32", "d:u32 a:b32 b:u32 c:s32", "H.fns(a, b, c)"]]),
  ...rows("9.7.1.18", [["brev.type:b32|b64", "d a", (x) => `H.brev${wide(x) ? "64" : "32"}(a)`]]),
  ...rows("9.7.1.19", [
    [
      "bfe.type:u32|u64|s32|s64",
      "d a b:u32 c:u32",
      (x) => `H.bfe(a, b, c, ${x["type"]!.slice(1)}, ${signed(x)})`,
    ],
  ]),
  ...rows("9.7.1.20", [
    ["bfi.type:b32|b64", "d a b c:u32 e:u32", (x) => `H.bfi(a, b, c, e, ${x["type"]!.slice(1)})`],
  ]),
  ...rows("9.7.1.21", [
    [
      "szext.mode:wrap|clamp.type:u32|s32",
      "d a b:u32",
      (x) => `H.szext(a, b, ${signed(x)}, ${x["mode"] === "clamp"})`,
    ],
  ]),
  ...rows("9.7.1.22", [
    ["bmsk.mode:wrap|clamp.b32", "d:b32 a:u32 b:u32", (x) => `H.bmsk(a, b, ${x["mode"] === "clamp"})`],
  ]),
  ...rows("9.7.1.23", [
    [
      "dp4a.at:u32|s32.bt:u32|s32",
      "d:s32 a:b32 b:b32 c:s32",
      (x) => `H.dp4a(a, b, ${signed(x, "at")}, ${signed(x, "bt")}) + c`,
    ],
  ]),
  ...rows("9.7.1.24", [
    [
      "dp2a.half:lo|hi.at:u32|s32.bt:u32|s32",
      "d:s32 a:b32 b:b32 c:s32",
      (x) => `H.dp2a(a, b >> ${x["half"] === "hi" ? 16 : 0}, ${signed(x, "at")}, ${signed(x, "bt")}) + c`,
    ],
  ]),
];

// The carry lives in CC.CF, one bit a lane, which `add.cc` and its kin write and `addc` and its kin read. As on
// Hopper it is the carry of a + ~b + 1 after a subtraction, thus 0 where that borrows; only a mix of the two shows it.
const carry = rows("9.7.2", [
  ["add.cc.type:u32|s32|u64|s64", "d a b", (x) => `H.addCarry(K, l, a, b, 0, ${wide(x)})`],
  ["addc.cc.type:u32|s32|u64|s64", "d a b", (x) => `H.addCarry(K, l, a, b, K[l], ${wide(x)})`],
  ["addc.type:u32|s32|u64|s64", "d a b", (x) => (wide(x) ? "a + b + BigInt(K[l])" : "a + b + K[l]")],
  ["sub.cc.type:u32|s32|u64|s64", "d a b", (x) => `H.subCarry(K, l, a, b, 1, ${wide(x)})`],
  ["subc.cc.type:u32|s32|u64|s64", "d a b", (x) => `H.subCarry(K, l, a, b, K[l], ${wide(x)})`],
  ["subc.type:u32|s32|u64|s64", "d a b", (x) => (wide(x) ? "a - b - 1n + BigInt(K[l])" : "a - b - 1 + K[l]")],
  [
    "mad.part:lo|hi.cc.type:u32|s32",
    "d a b c",
    (x) => `H.addCarry(K, l, ${x["part"] === "lo" ? low(x) : high(x)}, c, 0, false)`,
  ],
  [
    "madc.part:lo|hi.cc.type:u32|s32",
    "d a b c",
    (x) => `H.addCarry(K, l, ${x["part"] === "lo" ? low(x) : high(x)}, c, K[l], false)`,
  ],
  ["madc.part:lo|hi.type:u32|s32", "d a b c", (x) => `(${x["part"] === "lo" ? low(x) : high(x)}) + c + K[l]`],
]);

const bits = "type:b16|b32|b64";
const logic = [
  ...rows("9.7.8.1", [
    ["and.type:pred", "d a b", "a && b"],
    ["or.type:pred", "d a b", "a || b"],
    ["xor.type:pred", "d a b", "a !== b"],
    ["not.type:pred", "d a", "!a"],
    [`and.${bits}`, "d a b", "a & b"],
    [`or.${bits}`, "d a b", "a | b"],
    [`xor.${bits}`, "d a b", "a ^ b"],
    [`not.${bits}`, "d a", "~a"],
    [`cnot.${bits}`, "d a", (x) => (wide(x) ? "a === 0n ? 1n : 0n" : "a === 0 ? 1 : 0")],
  ]),
  ...rows("9.7.8.6", [["lop3.b32", "d:b32 a:b32 b:b32 c:b32 table:u32", "H.lop3(a, b, c, table)"]]),
  ...rows("9.7.8.7", [
    [
      "shf.l.mode:wrap|clamp.b32",
      "d:b32 a:b32 b:b32 c:u32",
      (x) => `H.funnelLeft(a, b, ${x["mode"] === "wrap" ? "c & 31" : "Math.min(c, 32)"})`,
    ],
    [
      "shf.r.mode:wrap|clamp.b32",
      "d:b32 a:b32 b:b32 c:u32",
      (x) => `H.funnelRight(a, b, ${x["mode"] === "wrap" ? "c & 31" : "Math.min(c, 32)"})`,
    ],
  ]),
  ...rows("9.7.8.8", [
    ["shl.type:b16|b32", "d a b:u32", "b > 31 ? 0 : a << b"],
    ["shl.type:b64", "d a b:u32", "b > 63 ? 0n : a << BigInt(b)"],
  ]),
  ...rows("9.7.8.9", [
    ["shr.type:b16|b32|u16|u32", "d a b:u32", "b > 31 ? 0 : a >>> b"],
    ["shr.type:s16|s32", "d a b:u32", "a >> Math.min(b, 31)"],
    ["shr.type:b64|u64", "d a b:u32", "b > 63 ? 0n : a >> BigInt(b)"],
    ["shr.type:s64", "d a b:u32", "a >> BigInt(Math.min(b, 63))"],
  ]),
];

export const integerRows: readonly LaneRow[] = [...arithmetic, ...bitFields, ...carry, ...logic];
