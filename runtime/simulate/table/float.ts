/**
 * Floating-point arithmetic of f32 and f64 (PTX ISA 9.7.3), and of f16 and bf16 (9.7.4).
 *
 * `.approx` operations have a bound in the manual, not exact bits; here they are the correctly rounded value,
 * which lies within every such bound.
 */
import type { Choices, LaneRow } from "./row.ts";

const R = "rnd?rn|rz|rm|rp";
const rounding = (x: Choices): string => `"${x["rnd"] ?? "rn"}"`;
const directed = (x: Choices): boolean => x["rnd"] !== undefined && x["rnd"] !== "rn";

/** Wraps an f32 expression in `.ftz` and `.sat` as the choices ask: subnormal inputs and results become zero. */
function f32(expression: (x: Choices, a: string, b: string, c: string) => string): (x: Choices) => string {
  return (x) => {
    const name = (n: string): string => (x["ftz"] !== undefined ? `H.flush(${n})` : n);
    let text = expression(x, name("a"), name("b"), name("c"));
    if (x["ftz"] !== undefined) text = `H.flush(Math.fround(${text}))`;
    return x["sat"] !== undefined ? `H.saturate(${text})` : text;
  };
}

function row(section: string, pattern: string, operands: string, is: LaneRow["is"]): LaneRow {
  return { pattern, section, operands, is };
}

const single: readonly LaneRow[] = [
  row(
    "9.7.3.3",
    "add.rnd?rn|rz|rm|rp.ftz?ftz.sat?sat.type:f32",
    "d a b",
    f32((x, a, b) => (directed(x) ? `H.add32(${a}, ${b}, ${rounding(x)})` : `${a} + ${b}`)),
  ),
  row(
    "9.7.3.4",
    "sub.rnd?rn|rz|rm|rp.ftz?ftz.sat?sat.type:f32",
    "d a b",
    f32((x, a, b) => (directed(x) ? `H.add32(${a}, -${b}, ${rounding(x)})` : `${a} - ${b}`)),
  ),
  row(
    "9.7.3.5",
    `mul.${R}.ftz?ftz.sat?sat.type:f32`,
    "d a b",
    f32((x, a, b) => (directed(x) ? `H.roundF32(${a} * ${b}, ${rounding(x)})` : `${a} * ${b}`)),
  ),
  row(
    "9.7.3.6",
    `fma.rnd:rn|rz|rm|rp.ftz?ftz.sat?sat.type:f32`,
    "d a b c",
    f32((x, a, b, c) =>
      directed(x) ? `H.add32(${a} * ${b}, ${c}, ${rounding(x)})` : `H.fma32(${a}, ${b}, ${c})`,
    ),
  ),
  row(
    "9.7.3.7",
    `mad.rnd:rn|rz|rm|rp.ftz?ftz.sat?sat.type:f32`,
    "d a b c",
    f32((x, a, b, c) =>
      directed(x) ? `H.add32(${a} * ${b}, ${c}, ${rounding(x)})` : `H.fma32(${a}, ${b}, ${c})`,
    ),
  ),
  row(
    "9.7.3.8",
    "div.kind:approx|full.ftz?ftz.type:f32",
    "d a b",
    f32((x, a, b) => (x["kind"] === "approx" ? `H.quotientFast(${a}, ${b})` : `H.quotientOdd(${a}, ${b})`)),
  ),
  row(
    "9.7.3.8",
    "div.rnd:rn|rz|rm|rp.ftz?ftz.type:f32",
    "d a b",
    f32((x, a, b) => `H.roundF32(H.quotientOdd(${a}, ${b}), ${rounding(x)})`),
  ),
  row(
    "9.7.3.13",
    "rcp.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `H.quotientOdd(1, ${a})`),
  ),
  row(
    "9.7.3.13",
    "rcp.rnd:rn|rz|rm|rp.ftz?ftz.type:f32",
    "d a",
    f32((x, a) => `H.roundF32(H.quotientOdd(1, ${a}), ${rounding(x)})`),
  ),
  row(
    "9.7.3.15",
    "sqrt.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `Math.sqrt(${a})`),
  ),
  row(
    "9.7.3.15",
    "sqrt.rnd:rn|rz|rm|rp.ftz?ftz.type:f32",
    "d a",
    f32((x, a) => `H.roundF32(H.rootOdd(${a}), ${rounding(x)})`),
  ),
  row(
    "9.7.3.16",
    "rsqrt.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `1 / Math.sqrt(${a})`),
  ),
  row(
    "9.7.3.18",
    "sin.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `Math.sin(${a})`),
  ),
  row(
    "9.7.3.19",
    "cos.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `Math.cos(${a})`),
  ),
  row(
    "9.7.3.20",
    "lg2.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `Math.log2(${a})`),
  ),
  row(
    "9.7.3.21",
    "ex2.approx.ftz?ftz.type:f32",
    "d a",
    f32((_, a) => `Math.pow(2, ${a})`),
  ),
  row("9.7.3.22", "tanh.approx.type:f32", "d a", "Math.tanh(a)"),
];

type Wrap = (expression: (x: Choices, a: string, b: string, c: string) => string) => (x: Choices) => string;

/** min and max; `.xorsign.abs` comes as a pair of modifiers. */
function extremes(section: string, name: "min" | "max", ftz: string, type: string, wrap: Wrap): LaneRow[] {
  const call = name === "min" ? "minimum" : "maximum";
  return [
    row(
      section,
      `${name}.${ftz}nan?NaN.${type}`,
      "d a b",
      wrap((x, a, b) => `H.${call}(${a}, ${b}, ${x["nan"] !== undefined}, false)`),
    ),
    row(
      section,
      `${name}.${ftz}nan?NaN.xorsign.abs.${type}`,
      "d a b",
      wrap((x, a, b) => `H.${call}(${a}, ${b}, ${x["nan"] !== undefined}, true)`),
    ),
  ];
}

// copysign moves bits; neg and abs of a NaN give the canonical NaN, as Hopper does where the manual leaves the payload
// open (9.7.3.9, 9.7.4.5); min and max drop NaN unless `.NaN`.
const signs: readonly LaneRow[] = [
  row(
    "9.7.3.9",
    "abs.ftz?ftz.type:f32",
    "d:b32 a:b32",
    (x) => `H.signed32(${x["ftz"] === undefined ? "a" : "H.flushBits(a)"}, false)`,
  ),
  row("9.7.3.9", "abs.type:f64", "d a", "Math.abs(a)"),
  row(
    "9.7.3.10",
    "neg.ftz?ftz.type:f32",
    "d:b32 a:b32",
    (x) => `H.signed32(${x["ftz"] === undefined ? "a" : "H.flushBits(a)"}, true)`,
  ),
  row("9.7.3.10", "neg.type:f64", "d a", "-a"),
  ...extremes("9.7.3.11", "min", "ftz?ftz.", "type:f32", f32),
  ...extremes("9.7.3.12", "max", "ftz?ftz.", "type:f32", f32),
  row("9.7.3.11", "min.type:f64", "d a b", "H.minimum(a, b, false, false)"),
  row("9.7.3.12", "max.type:f64", "d a b", "H.maximum(a, b, false, false)"),
  row("9.7.3.2", "copysign.type:f32", "d:b32 a:b32 b:b32", "(b & 0x7fffffff) | (a & 0x80000000)"),
  row("9.7.3.2", "copysign.type:f64", "d a b", "H.copysign(b, a)"),
  row(
    "9.7.3.1",
    "testp.test:finite|infinite|number|notanumber|normal|subnormal.type:f32|f64",
    "d:pred a",
    (x) => `H.testp(a, "${x["test"]}", ${x["type"] === "f64"})`,
  ),
];

const double: readonly LaneRow[] = [
  row("9.7.3.3", `add.${R}.type:f64`, "d a b", (x) =>
    directed(x) ? `H.add64(a, b, ${rounding(x)})` : "a + b",
  ),
  row("9.7.3.4", `sub.${R}.type:f64`, "d a b", (x) =>
    directed(x) ? `H.add64(a, -b, ${rounding(x)})` : "a - b",
  ),
  row("9.7.3.5", `mul.${R}.type:f64`, "d a b", (x) =>
    directed(x) ? `H.mul64(a, b, ${rounding(x)})` : "a * b",
  ),
  row("9.7.3.6", "fma.rnd:rn|rz|rm|rp.type:f64", "d a b c", (x) => `H.fma64(a, b, c, ${rounding(x)})`),
  row("9.7.3.7", "mad.rnd:rn|rz|rm|rp.type:f64", "d a b c", (x) => `H.fma64(a, b, c, ${rounding(x)})`),
  row("9.7.3.8", "div.rnd:rn|rz|rm|rp.type:f64", "d a b", (x) => `H.div64(a, b, ${rounding(x)})`),
  row("9.7.3.13", "rcp.rnd:rn|rz|rm|rp.type:f64", "d a", (x) => `H.div64(1, a, ${rounding(x)})`),
  row("9.7.3.14", "rcp.approx.ftz.type:f64", "d a", "H.flush64(1 / H.flush64(a))"),
  row("9.7.3.15", "sqrt.rnd:rn|rz|rm|rp.type:f64", "d a", (x) => `H.sqrt64(a, ${rounding(x)})`),
  row(
    "9.7.3.17",
    "rsqrt.approx.ftz?ftz.type:f64",
    "d a",
    (x) => `1 / Math.sqrt(${x["ftz"] === undefined ? "a" : "H.flush64(a)"})`,
  ),
];

const isBf16 = (x: Choices): boolean => x["type"]!.startsWith("bf16");
// Sums of f16 values are exact in f64; bf16 has the range of f32, so its sums are rounded to odd first.
const sum = (x: Choices, a: string, b: string): string =>
  isBf16(x) ? `H.sumOdd(${a}, ${b})` : `${a} + ${b}`;

/** `.ftz` flushes subnormal f16 inputs and results, `.sat` clamps to [0, 1], `.relu` to zero from below. */
function half(expression: (x: Choices, a: string, b: string, c: string) => string): (x: Choices) => string {
  return (x) => {
    const name = (n: string): string => (x["ftz"] !== undefined ? `H.flushF16(${n})` : n);
    let text = expression(x, name("a"), name("b"), name("c"));
    if (x["ftz"] !== undefined) text = `H.flushF16(H.roundF16(${text}))`;
    if (x["relu"] !== undefined) text = `H.relu(${text})`;
    return x["sat"] !== undefined ? `H.saturate(${text})` : text;
  };
}

const f16s = "type:f16|f16x2";
const bf16s = "type:bf16|bf16x2";

/** Arithmetic on f16 may flush and saturate; on bf16 it may not. */
function both(
  section: string,
  head: string,
  modifiers: string,
  operands: string,
  expression: (x: Choices, a: string, b: string, c: string) => string,
): LaneRow[] {
  return [
    row(section, `${head}.${modifiers}${f16s}`, operands, half(expression)),
    row(section, `${head}.${bf16s}`, operands, half(expression)),
  ];
}

/** neg and abs of 16-bit floats, on their bits; `infinity` is what only a NaN exceeds. */
function signs16(section: string, name: "neg" | "abs"): LaneRow[] {
  const is =
    (infinity: number, pair: boolean): ((x: Choices) => string) =>
    (x) => {
      const bits = x["ftz"] === undefined ? "a" : "H.flushF16Bits(a)";
      return `H.signed16${pair ? "x2" : ""}(${bits}, ${name === "neg"}, ${infinity})`;
    };
  return [
    row(section, `${name}.ftz?ftz.type:f16`, "d:b16 a:b16", is(0x7c00, false)),
    row(section, `${name}.ftz?ftz.type:f16x2`, "d:b32 a:b32", is(0x7c00, true)),
    row(section, `${name}.type:bf16`, "d:b16 a:b16", is(0x7f80, false)),
    row(section, `${name}.type:bf16x2`, "d:b32 a:b32", is(0x7f80, true)),
  ];
}

const half16: readonly LaneRow[] = [
  ...both("9.7.4.1", "add.rnd?rn", "ftz?ftz.sat?sat.", "d a b", (x, a, b) => sum(x, a, b)),
  ...both("9.7.4.2", "sub.rnd?rn", "ftz?ftz.sat?sat.", "d a b", (x, a, b) => sum(x, a, `-${b}`)),
  ...both("9.7.4.3", "mul.rnd?rn", "ftz?ftz.sat?sat.", "d a b", (_, a, b) => `${a} * ${b}`),
  row(
    "9.7.4.4",
    `fma.rn.ftz?ftz.sat?sat.${f16s}`,
    "d a b c",
    half((_, a, b, c) => `H.sumOdd(${a} * ${b}, ${c})`),
  ),
  row(
    "9.7.4.4",
    `fma.rn.ftz?ftz.relu.${f16s}`,
    "d a b c",
    (x) => `H.relu(${half((_, a, b, c) => `H.sumOdd(${a} * ${b}, ${c})`)(x)})`,
  ),
  row(
    "9.7.4.4",
    `fma.rn.relu?relu.${bf16s}`,
    "d a b c",
    half((_, a, b, c) => `H.sumOdd(${a} * ${b}, ${c})`),
  ),
  ...signs16("9.7.4.5", "neg"),
  ...signs16("9.7.4.6", "abs"),
  ...extremes("9.7.4.7", "min", "ftz?ftz.", f16s, half),
  ...extremes("9.7.4.7", "min", "", bf16s, half),
  ...extremes("9.7.4.8", "max", "ftz?ftz.", f16s, half),
  ...extremes("9.7.4.8", "max", "", bf16s, half),
  row("9.7.4.9", `tanh.approx.type:f16|f16x2|bf16|bf16x2`, "d a", "Math.tanh(a)"),
  row("9.7.4.10", `ex2.approx.${f16s}`, "d a", "Math.pow(2, a)"),
  row("9.7.4.10", `ex2.approx.ftz.${bf16s}`, "d a", "H.flush(Math.pow(2, H.flush(a)))"),
];

export const floatRows: readonly LaneRow[] = [...single, ...signs, ...double, ...half16];
