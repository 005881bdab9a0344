/** Arithmetic, one opcode an operation. Rounding is written out, so that ptxas fuses no multiplication with an addition. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { BinaryFn, Op, UnaryFn, ValueType } from "../../kernel/ir.ts";
import type { Context } from "./context.ts";
import { arithmeticType, classOf } from "./registers.ts";

type Opcodes<Fn extends string> = Readonly<Partial<Record<ValueType, Readonly<Partial<Record<Fn, string>>>>>>;

const signed = (
  type: "s32" | "u32" | "s64",
  bits: "b32" | "b64",
): Readonly<Partial<Record<BinaryFn, string>>> => ({
  add: `add.${type}`,
  sub: `sub.${type}`,
  mul: `mul.lo.${type}`,
  div: `div.${type}`,
  rem: `rem.${type}`,
  min: `min.${type}`,
  max: `max.${type}`,
  and: `and.${bits}`,
  or: `or.${bits}`,
  xor: `xor.${bits}`,
  shl: `shl.${bits}`,
  shr: `shr.${type}`,
  eq: `setp.eq.${type}`,
  ne: `setp.ne.${type}`,
  lt: `setp.lt.${type}`,
  le: `setp.le.${type}`,
  gt: `setp.gt.${type}`,
  ge: `setp.ge.${type}`,
});

const bitwise = { and: "and.b32", or: "or.b32", xor: "xor.b32", eq: "setp.eq.b32", ne: "setp.ne.b32" };

const binary: Opcodes<BinaryFn> = {
  // `setp` with these is ordered (false on NaN), `neu` alone is true on NaN. `min` and `max` give the number of a number and a NaN.
  f32: {
    add: "add.rn.f32",
    sub: "sub.rn.f32",
    mul: "mul.rn.f32",
    div: "div.rn.f32",
    min: "min.f32",
    max: "max.f32",
    eq: "setp.eq.f32",
    ne: "setp.neu.f32",
    lt: "setp.lt.f32",
    le: "setp.le.f32",
    gt: "setp.gt.f32",
    ge: "setp.ge.f32",
  },
  i32: signed("s32", "b32"),
  u32: signed("u32", "b32"),
  i64: signed("s64", "b64"),
  bool: { and: "and.pred", or: "or.pred", xor: "xor.pred", ne: "xor.pred" },
  h2: bitwise,
  b8x4: bitwise,
  b8: bitwise,
};

/**
 * Accuracy as the PTX ISA states it (9.7.3): `ex2`, `rsqrt` within 2 ulp, `rcp` within 1; `lg2` within 2^-22 of the result's size, or
 * absolutely where the operand is in 0.5..2; `sqrt.rn` correctly rounded. `sin`, `cos` and `tanh` are
 * too coarse for the kernel IR's promise: caps leave them out. Subnormals are kept but by `ex2`, which takes three more
 * instructions to keep them: a result below 2^-126 is 0, as the oracle's bound allows.
 */
const unary: Opcodes<UnaryFn> = {
  f32: {
    neg: "neg.f32",
    abs: "abs.f32",
    exp2: "ex2.approx.ftz.f32",
    log2: "lg2.approx.f32",
    sqrt: "sqrt.rn.f32",
    rsqrt: "rsqrt.approx.f32",
    rcp: "rcp.approx.ftz.f32",
    floor: "cvt.rmi.f32.f32",
    ceil: "cvt.rpi.f32.f32",
    trunc: "cvt.rzi.f32.f32",
    "round-even": "cvt.rni.f32.f32",
  },
  i32: { neg: "neg.s32", abs: "abs.s32", not: "not.b32", popcount: "popc.b32", clz: "clz.b32" },
  u32: { neg: "neg.s32", not: "not.b32", abs: "mov.b32", popcount: "popc.b32", clz: "clz.b32" },
  i64: { neg: "neg.s64", abs: "abs.s64", not: "not.b64" },
  bool: { not: "not.pred" },
};

/** The unary functions that the table has on f32 and integers, as caps name them. */
export const unaryFunctions: readonly string[] = [
  ...new Set(Object.values(unary).flatMap((row) => Object.keys(row))),
  "round-tf32",
];

export function emitUnary(op: Op<"unary">, cx: Context): void {
  if (op.fn === "round-tf32") {
    emitRoundTf32(op, cx);
    return;
  }
  const opcode = unary[op.a.type]?.[op.fn];
  invariant(opcode !== undefined, `ptx has no ${op.fn} of ${op.a.type}`);
  const a = cx.register(op.a);
  cx.instruction(`${opcode} ${cx.define(op.dst)}, ${a}`);
}

/** The instruction's result is bits. */
function emitRoundTf32(op: Op<"unary">, cx: Context): void {
  const bits = cx.temporary("b32", "tf32");
  const a = cx.register(op.a);
  cx.instruction(`cvt.rn.tf32.f32 ${bits}, ${a}`);
  cx.instruction(`mov.b32 ${cx.define(op.dst)}, ${bits}`);
}

export function emitBinary(op: Op<"binary">, cx: Context): void {
  if (cx.isFolded(op.dst)) return;
  if (op.a.type === "bool" && op.fn === "eq") {
    emitBoolEquality(op, cx);
    return;
  }
  const opcode = binary[op.a.type]?.[op.fn];
  invariant(opcode !== undefined, `ptx has no ${op.fn} of ${op.a.type}`);
  const a = cx.use(op.a);
  const b = cx.use(op.b);
  cx.instruction(`${opcode} ${cx.define(op.dst)}, ${a}, ${b}`);
}

function emitBoolEquality(op: Op<"binary">, cx: Context): void {
  const differ = cx.temporary("pred", "differ");
  cx.instruction(`xor.pred ${differ}, ${cx.use(op.a)}, ${cx.use(op.b)}`);
  cx.instruction(`not.pred ${cx.define(op.dst)}, ${differ}`);
}

export function emitFma(op: Op<"fma">, cx: Context): void {
  const type = arithmeticType(op.dst.type);
  const opcode = op.dst.type === "f32" ? "fma.rn.f32" : `mad.lo.${type}`;
  const operands = [op.a, op.b, op.c].map((value) => cx.use(value));
  cx.instruction(`${opcode} ${cx.define(op.dst)}, ${operands.join(", ")}`);
}

export function emitSelect(op: Op<"select">, cx: Context): void {
  const condition = cx.register(op.condition);
  const a = cx.use(op.a);
  const b = cx.use(op.b);
  if (op.dst.type !== "bool") {
    cx.instruction(`selp.${classOf(op.dst.type)} ${cx.define(op.dst)}, ${a}, ${b}, ${condition}`);
    return;
  }
  const [chosen, otherwise, not] = [
    cx.temporary("pred", "chosen"),
    cx.temporary("pred", "otherwise"),
    cx.temporary("pred", "not"),
  ];
  cx.instruction(`and.pred ${chosen}, ${a}, ${condition}`);
  cx.instruction(`not.pred ${not}, ${condition}`);
  cx.instruction(`and.pred ${otherwise}, ${b}, ${not}`);
  cx.instruction(`or.pred ${cx.define(op.dst)}, ${chosen}, ${otherwise}`);
}
