/** Conversions: `cvt` (PTX ISA 9.7.9.21) and `cvt.pack` (9.7.9.22). */
import type { Choices, LaneRow } from "./row.ts";

const section = "9.7.9.21";
const integers = "u8|u16|u32|u64|s8|s16|s32|s64";
const isWide = (type: string): boolean => type.endsWith("64");
const rounding = (x: Choices): string => `"${(x["rnd"] ?? "rn").replace(/i$/, "")}"`;

/** Lowest and highest value of an integer type, as literals of the given kind. */
function limits(type: string, suffix: "" | "n"): [string, string] {
  const bits = BigInt(type.slice(1));
  const signed = type.startsWith("s");
  const low = signed ? -(1n << (bits - 1n)) : 0n;
  const high = signed ? (1n << (bits - 1n)) - 1n : (1n << bits) - 1n;
  return [`${low}${suffix}`, `${high}${suffix}`];
}

function integerToInteger(x: Choices): string {
  const to = x["to"]!;
  const from = x["from"]!;
  const wide = isWide(to) || isWide(from);
  const value = wide && !isWide(from) ? "BigInt(a)" : "a";
  if (x["sat"] === undefined) return isWide(from) && !isWide(to) ? "Number(BigInt.asIntN(32, a))" : value;
  const [low, high] = limits(to, wide ? "n" : "");
  const clamped = `H.clamp(${value}, ${low}, ${high})`;
  return wide && !isWide(to) ? `Number(${clamped})` : clamped;
}

function floatToInteger(x: Choices): string {
  const to = x["to"]!;
  const value = x["ftz"] !== undefined ? "H.flush(a)" : "a";
  const whole = `H.roundToInteger(${value}, "${x["rnd"]!}")`;
  if (isWide(to)) return `H.toInteger64(${whole}, ${to.startsWith("s")})`;
  const [low, high] = limits(to, "");
  // NaN gives zero, but the top bit alone where the source is f64 (or the result has 64 bits).
  const ofNaN = x["from"] !== "f64" ? 0 : to.startsWith("s") ? low : 2 ** (Number(to.slice(1)) - 1);
  return `H.toInteger(${whole}, ${low}, ${high}, ${ofNaN})`;
}

function integerToFloat(x: Choices): string {
  const wide = x["to"] === "f64" ? `H.integer64ToF64(a, ${rounding(x)})` : "H.fromInteger64(a)";
  const value = isWide(x["from"]!) ? wide : "a";
  const rounded = x["to"] === "f32" ? `H.roundF32(${value}, ${rounding(x)})` : value;
  return x["sat"] === undefined ? rounded : `H.saturate(${rounded})`;
}

/** Float to f32 or f64: exact when widening; `.rni` and its kin round to a whole number. */
function floatToFloat(x: Choices): string {
  let value = x["ftz"] !== undefined ? "H.flush(a)" : "a";
  if (x["rnd"]?.endsWith("i") === true) value = `H.roundToInteger(${value}, "${x["rnd"]}")`;
  else if (x["to"] === "f32" && x["from"] === "f64") value = `H.roundF32(${value}, ${rounding(x)})`;
  if (x["ftz"] !== undefined && x["to"] === "f32") value = `H.flush(Math.fround(${value}))`;
  return x["sat"] === undefined ? value : `H.saturate(${value})`;
}

/** Which NaN a conversion to tf32 gives: `.rna` adds to the bits, and does so before it saturates. */
const tf32Of = (x: Choices): string =>
  x["rnd"] !== "rna" ? "tf32" : x["satfinite"] !== undefined ? "tf32Clamped" : "tf32Nearest";

/** Any float or integer to the bits of a narrow format; `.sat` clamps to [0, 1], `.satfinite` to the finite range. */
function narrow(value: string, to: string, x: Choices): string {
  const input = x["sat"] === undefined ? value : `H.saturate(${value})`;
  const format = x["from"] === "f64" ? `${to}OfF64` : to === "tf32" ? tf32Of(x) : to;
  return `H.convertBits(${input}, H.${format}, ${rounding(x)}, ${x["satfinite"] !== undefined}, ${x["relu"] !== undefined})`;
}

const half = (x: Choices): string => {
  let value = x["ftz"] !== undefined ? "H.flush(a)" : "a";
  if (x["from"] !== undefined && /^[us]/.test(x["from"]))
    value = integerToFloat({ ...x, to: "f16", sat: undefined });
  if (x["rnd"]?.endsWith("i") === true) value = `H.roundToInteger(${value}, "${x["rnd"]}")`;
  return narrow(value, x["to"]!, x);
};

/** Two f32, the first to the upper half (9.7.9.21: "converted value of a in the upper half"). */
const pair = (x: Choices): string => {
  const to = x["to"]!.replace("x2", "");
  const bits = /8|e4m3|e5m2/.test(to) ? 8 : 16;
  return `(${narrow("a", to, x)} << ${bits}) | ${narrow("b", to, x)}`;
};

const fromHalves = (x: Choices): string => {
  const to = x["to"]!.replace("x2", "");
  return `(${narrow("H.f16ToNumber(a >>> 16)", to, x)} << 8) | ${narrow("H.f16ToNumber(a & 0xffff)", to, x)}`;
};

const toHalves = (x: Choices): string => {
  const from = x["from"]!.replace("x2", "");
  return `(${narrow(`H.${from}ToNumber((a >>> 8) & 255)`, "f16", x)} << 16) | ${narrow(`H.${from}ToNumber(a & 255)`, "f16", x)}`;
};

function row(pattern: string, operands: string, is: LaneRow["is"]): LaneRow {
  return { pattern, section, operands, is };
}

const pack = (x: Choices): string => {
  const to = x["to"]!;
  const [low, high] = limits(to, "");
  const clamp = (name: string): string => `H.clamp(${name}, ${low}, ${high})`;
  const bits = Number(to.slice(1));
  const mask = 2 ** bits - 1;
  const both = `((${clamp("a")} & ${mask}) << ${bits}) | (${clamp("b")} & ${mask})`;
  return bits === 16 ? both : `(c << ${2 * bits}) | ${both}`;
};

const wholes = "rnd:rni|rzi|rmi|rpi";
const roundings = "rnd:rn|rz|rm|rp";
/** Types whose values all fit: an integer conversion that cannot lose anything takes no `.sat` (ptxas 13.0 says so). */
const widening: Readonly<Record<string, string>> = {
  u8: "u8|u16|u32|u64|s16|s32|s64",
  u16: "u16|u32|u64|s32|s64",
  u32: "u32|u64|s64",
  u64: "u64",
  s8: "s8|s16|s32|s64",
  s16: "s16|s32|s64",
  s32: "s32|s64",
  s64: "s64",
};

const saturating = Object.entries(widening).map(([from, fits]) => {
  const to = integers.split("|").filter((type) => !fits.split("|").includes(type));
  return row(`cvt.sat:sat.to:${to.join("|")}.from:${from}`, "d:to a:from", integerToInteger);
});

export const convertRows: readonly LaneRow[] = [
  row(
    "cvt.rnd:rna.satfinite?satfinite.to:tf32.f32",
    "d:b32 a:f32",
    (x) => `(${narrow("a", "tf32", x)}) << 13`,
  ),
  row("cvt.rnd:rn|rz.relu?relu.to:tf32.f32", "d:b32 a:f32", (x) => `(${narrow("a", "tf32", x)}) << 13`),
  row(`cvt.to:${integers}.from:${integers}`, "d:to a:from", integerToInteger),
  ...saturating,
  row(`cvt.${wholes}.sat?sat.to:${integers}.from:f16|f64`, "d:to a:from", floatToInteger),
  row(`cvt.${wholes}.ftz?ftz.sat?sat.to:${integers}.from:f32`, "d:to a:from", floatToInteger),
  row(`cvt.${wholes}.to:u16|u32|u64|s16|s32|s64.from:bf16`, "d:to a:from", floatToInteger),
  row(`cvt.${roundings}.sat?sat.to:f32|f64.from:${integers}`, "d:to a:from", integerToFloat),
  row(`cvt.${roundings}.sat?sat.to:f16.from:${integers}`, "d:b16 a:from", half),
  row(`cvt.${roundings}.to:bf16.from:u16|u32|u64|s16|s32|s64`, "d:b16 a:from", half),
  row("cvt.ftz?ftz.sat?sat.to:f32.from:f16|f32", "d:to a:from", floatToFloat),
  row("cvt.ftz?ftz.to:f32.from:bf16", "d:to a:from", floatToFloat),
  row("cvt.ftz?ftz.sat?sat.to:f64.from:f32", "d:to a:from", floatToFloat),
  row("cvt.sat?sat.to:f64.from:f16|f64", "d:to a:from", floatToFloat),
  row("cvt.to:f64.from:bf16", "d:to a:from", floatToFloat),
  row(`cvt.${roundings}.ftz?ftz.sat?sat.to:f32.from:f64`, "d:to a:from", floatToFloat),
  row(`cvt.${wholes}.ftz?ftz.sat?sat.to:f32.from:f32`, "d:to a:from", floatToFloat),
  row(`cvt.${wholes}.sat?sat.to:f64.from:f64`, "d:to a:from", floatToFloat),
  row(`cvt.${wholes}.sat?sat.to:f16.from:f16`, "d:b16 a:from", half),
  row("cvt.sat?sat.to:f16.from:f16", "d:b16 a:from", half),
  row(`cvt.${roundings}.ftz?ftz.sat?sat.to:f16.from:f32`, "d:b16 a:from", half),
  row("cvt.rnd:rn|rz.relu?relu.satfinite?satfinite.to:f16|bf16.from:f32", "d:b16 a:from", half),
  row(`cvt.${roundings}.sat?sat.to:f16.from:f64`, "d:b16 a:from", half),
  row(`cvt.${roundings}.to:bf16.from:f16|f32|f64`, "d:b16 a:from", half),
  row(`cvt.${roundings}.to:f16.from:bf16`, "d:b16 a:from", half),
  row("cvt.rnd:rn|rz.satfinite?satfinite.relu?relu.to:f16x2|bf16x2.from:f32", "d:b32 a:f32 b:f32", pair),
  row("cvt.rnd:rn|rz.relu?relu.satfinite?satfinite.to:f16x2|bf16x2.from:f32", "d:b32 a:f32 b:f32", pair),
  row("cvt.rnd:rn.satfinite:satfinite.relu?relu.to:e4m3x2|e5m2x2.from:f32", "d:b16 a:f32 b:f32", pair),
  row("cvt.rnd:rn.satfinite:satfinite.relu?relu.to:e4m3x2|e5m2x2.from:f16x2", "d:b16 a:b32", fromHalves),
  row("cvt.rnd:rn.relu?relu.to:f16x2.from:e4m3x2|e5m2x2", "d:b32 a:b16", toHalves),
  {
    pattern: "cvt.pack.sat.to:u16|s16.from:s32",
    section: "9.7.9.22",
    operands: "d:b32 a:s32 b:s32",
    is: pack,
  },
  {
    pattern: "cvt.pack.sat.to:u8|s8|u4|s4|u2|s2.from:s32.b32",
    section: "9.7.9.22",
    operands: "d:b32 a:s32 b:s32 c:b32",
    is: pack,
  },
];
