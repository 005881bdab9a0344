/** How WGSL spells scalar ops. Integers wrap and shift as the kernel IR's do; what differs is written as a function. */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { BinaryFn, Buffer, Op, UnaryFn, ValueType } from "../../kernel/ir.ts";
import type { ScalarValue } from "../../kernel/scalar.ts";
import type { DType } from "../../types/dtype.ts";
import type { Dialect } from "../c/dialect.ts";
import { call, indexed, infix, levels, prefix, primary, within, type Expr } from "../c/expression.ts";
import { floatText } from "../c/float-text.ts";
import { boolOperators, infixOperators } from "../c/infix.ts";
import type { Printer } from "../c/printer.ts";
import { place, printInstruction } from "./memory.ts";
import { typeName } from "./types.ts";

export interface WgslNames {
  readonly sizes: string;
  readonly sizeFields: readonly string[];
  readonly block: string;
  readonly thread: string;
  readonly lane: string;
  readonly subgroup: string;
  /** The built-in values, u32, that `thread`, `lane` and `subgroup` are made of. */
  readonly threadIndex: string;
  readonly laneIndex: string;
  readonly subgroupIndex: string;
  /** Buffers that an atomic op touches: every access to one is atomic. */
  readonly atomics: ReadonlySet<Buffer>;
}

export function wgslDialect(names: WgslNames): Dialect {
  return {
    ...shared,
    thread: () => primary(names.thread),
    lane: () => primary(names.lane),
    subgroup: () => primary(names.subgroup),
    block: (_cx, axis) => call("i32", primary(`${names.block}.${"xyz"[axis] ?? ""}`)),
    size: (_cx, param) => primary(`${names.sizes}.${names.sizeFields[param] ?? ""}`),
    element: (cx, buffer, index) => {
      const from = place(cx.buffer(buffer), buffer, index);
      return names.atomics.has(buffer) ? call("atomicLoad", primary(`&${from.text}`)) : from;
    },
    storeElement: (cx, buffer, index, value) => {
      const to = place(cx.buffer(buffer), buffer, index).text;
      return names.atomics.has(buffer) ? `atomicStore(&${to}, ${value.text});` : `${to} = ${value.text};`;
    },
  };
}

const shared: Omit<Dialect, "thread" | "lane" | "subgroup" | "block" | "size" | "element" | "storeElement"> =
  {
    literal,
    unary,
    binary,
    fma: (_cx, type, a, b, c) => (type === "f32" ? apply("fma", a, b, c) : infix("+", infix("*", a, b), c)),
    select: (_cx, condition, a, b) => apply("select", b, a, condition),
    convert,
    bitcast,
    pack: (_cx, parts, type) => pack(parts, type),
    unpack: (_cx, a, part, type) => unpack(a, part, type),
    declare: (_type, name, e) => `let ${name} = ${e.text};`,
    declareVariable: (type, name, e) =>
      e === undefined ? `var ${name}: ${typeName(type)};` : `var ${name} = ${e.text};`,
    assign: (_type, name, e) => `${name} = ${e.text};`,
    forLoop: (op, index, from, to) => {
      const suffix = op.index.type === "u32" ? "u" : "";
      return `for (var ${index} = ${from.text}; ${index} < ${within(to, levels.sum)}; ${index} += ${op.step}${suffix})`;
    },
    atomic: (cx, op, index, value) =>
      `${atomicFunctions[op.fn]}(&${indexed(cx.buffer(op.buffer), index).text}, ${value.text});`,
    offset: (index, offset) => (offset === 0 ? index : infix("+", index, primary(String(offset)))),
    conditionalExpression: false,
    barrier: "workgroupBarrier();",
    shuffleXor: (cx, _value, e, mask) => apply(cx.use("subgroupShuffleXor"), e, primary(`${mask}u`)),
    shuffleIndex: (cx, _value, e, lane) => apply(cx.use("subgroupShuffle"), e, apply("u32", lane)),
    instruction: printInstruction,
  };

const atomicFunctions: Readonly<Record<Op<"atomic">["fn"], string>> = {
  add: "atomicAdd",
  and: "atomicAnd",
  or: "atomicOr",
  min: "atomicMin",
  max: "atomicMax",
};

/** A call. A comparison among several arguments is in parentheses: `f(a < b, c > d)` would read as a template. */
function apply(name: string, ...args: readonly Expr[]): Expr {
  if (args.length === 1) return call(name, ...args);
  return primary(
    `${name}(${args.map((arg) => (arg.level >= levels.sum ? arg.text : `(${arg.text})`)).join(", ")})`,
  );
}

function literal(cx: Printer, type: ValueType, value: ScalarValue): Expr {
  if (typeof value === "boolean") return primary(String(value));
  invariant(typeof value === "number", "wgsl has no i64: legalize carries it in pairs");
  switch (type) {
    case "u32":
    case "h2":
    case "b8x4":
      return primary(`${value}u`);
    case "f32":
      return Number.isFinite(value) ? signed(floatText(value)) : primary(cx.use(nonFinite(value)));
    case "f16":
      return halfOf(primary(`${value}u`), "x");
    default:
      return signed(String(value));
  }
}

function signed(text: string): Expr {
  return text.startsWith("-") ? { text, level: levels.unary } : primary(text);
}

/** Variables of the kernel that hold what WGSL has no constant for. */
function nonFinite(value: number): string {
  return Number.isNaN(value) ? "not_a_number" : value > 0 ? "infinity" : "minus_infinity";
}

function binary(_cx: Printer, fn: BinaryFn, type: ValueType, a: Expr, b: Expr): Expr {
  if (fn === "min" || fn === "max") return apply(fn, a, b);
  // Compilers of WGSL may take != for an ordered comparison, which is false on NaN; the negation of == is true.
  if (fn === "ne" && type === "f32") return prefix("!", infix("==", a, b));
  const ofBools = type === "bool" ? boolOperators[fn] : undefined;
  return infix(ofBools ?? infixOperators[fn], a, b);
}

const unaryFunctions: Readonly<Partial<Record<UnaryFn, string>>> = {
  abs: "abs",
  exp2: "exp2",
  log2: "log2",
  sin: "sin",
  cos: "cos",
  sqrt: "sqrt",
  rsqrt: "inverseSqrt",
  tanh: "tanh",
  floor: "floor",
  ceil: "ceil",
  trunc: "trunc",
  "round-even": "round",
  popcount: "countOneBits",
  clz: "countLeadingZeros",
};

function unary(_cx: Printer, fn: UnaryFn, type: ValueType, a: Expr): Expr {
  const name = unaryFunctions[fn];
  if (name !== undefined) return apply(name, a);
  switch (fn) {
    case "neg":
      return type === "u32" ? infix("-", primary("0u"), a) : prefix("-", a);
    case "not":
      return prefix(type === "bool" ? "!" : "~", a);
    case "rcp":
      return infix("/", primary("1.0"), a);
    default:
      throw new InternalError(`wgsl has no ${fn}`);
  }
}

function convert(cx: Printer, from: ValueType, to: ValueType, storage: DType | undefined, a: Expr): Expr {
  switch (`${from}>${to}`) {
    case "bool>i32":
    case "bool>u32":
    case "bool>f32":
    case "i32>f32":
    case "u32>f32":
    case "i32>u32":
    case "u32>i32":
    case "f16>f32":
      return apply(to, a);
    case "i32>bool":
      return infix("!=", a, primary("0"));
    case "u32>bool":
      return infix("!=", a, primary("0u"));
    case "f32>bool":
      return prefix("!", infix("==", a, primary("0.0")));
    case "f32>i32":
      return apply(cx.use("to_i32"), a);
    case "f32>u32":
      return apply(cx.use("to_u32"), a);
    default:
      throw new InternalError(
        `wgsl has no convert from ${from} to ${to} (${storage ?? "no storage"}): legalize writes it as bits`,
      );
  }
}

function bitcast(_cx: Printer, from: ValueType, to: ValueType, a: Expr): Expr {
  if (from === "f16") return wordOf([a, primary("0.0")]);
  if (to === "f16") return halfOf(a, "x");
  const [source, target] = [typeName(from), typeName(to)];
  return source === target ? a : apply(`bitcast<${target}>`, a);
}

/** The f16 of a pattern; through f32, which holds it exactly, since naga has no bitcast to f16. */
function halfOf(word: Expr, part: "x" | "y"): Expr {
  return apply("f16", primary(`unpack2x16float(${word.text}).${part}`));
}

function wordOf(parts: readonly Expr[]): Expr {
  return apply(
    "pack2x16float",
    apply("vec2<f32>", ...parts.map((part) => (part.text === "0.0" ? part : apply("f32", part)))),
  );
}

function pack(parts: readonly Expr[], type: ValueType): Expr {
  invariant(type === "f16" && parts.length === 2, `wgsl packs pairs of f16, not ${type}`);
  return wordOf(parts);
}

function unpack(a: Expr, part: number, type: ValueType): Expr {
  invariant(type === "f16", `wgsl unpacks pairs of f16, not ${type}`);
  return halfOf(a, part === 0 ? "x" : "y");
}
