/**
 * JavaScript for the instructions that each lane executes for itself.
 *
 * In the generated text `w` is the warp, `l` the lane, `m` the mask, `I U F D B BU` views of the register file,
 * `K` the carries, `H` the numeric functions; `pN` holds the predicate whose word is N while the lane loop runs.
 */
import { SimulateError } from "../finding.ts";
import type { LaneRow } from "../table/row.ts";
import { readSpecial, type SpecialRead } from "./special.ts";
import type { Register, Site, Value } from "./site.ts";

/** What a lane instruction reads and writes beside the register file: the predicates to hold in local variables. */
export interface LaneCode {
  readonly text: string;
  readonly predicates: readonly number[];
  readonly written: readonly number[];
}

interface Emission {
  readonly site: Site;
  readonly predicates: Set<number>;
  readonly written: Set<number>;
}

const bitsOf = (type: string): number => {
  if (type === "pred") return 1;
  if (type.endsWith("x2")) return type.startsWith("e") ? 16 : 32;
  return Number(/\d+$/.exec(type)![0]);
};

function fail(cx: Emission, message: string): never {
  throw new SimulateError(`${cx.site.instruction.text} ${message}`, cx.site.instruction.line);
}

const isFloat = (type: string): boolean => /^b?f\d+$/.test(type);

/** The text of a number: negative zero, infinities and NaN included. */
function literal(x: number): string {
  return Object.is(x, -0) ? "-0" : String(x);
}

const scratch = new DataView(new ArrayBuffer(8));

function floatBits(value: number, bits: number): bigint {
  if (bits === 64) {
    scratch.setFloat64(0, value);
    return scratch.getBigUint64(0);
  }
  scratch.setFloat32(0, value);
  return BigInt(scratch.getUint32(0));
}

function constant(cx: Emission, value: bigint, type: string): string {
  if (type === "pred") return value === 0n ? "false" : "true";
  if (isFloat(type)) fail(cx, "has an integer where a float belongs");
  const bits = bitsOf(type);
  const wrapped = type.startsWith("s") ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  return bits === 64 ? `${wrapped}n` : String(wrapped);
}

function readRegister(cx: Emission, register: Register, negated: boolean, type: string): string {
  const { base, bits } = register;
  if (type === "pred") {
    if (bits !== 1) fail(cx, `uses ${register.name} as a predicate`);
    cx.predicates.add(base);
    return `((p${base} >>> l & 1) === ${negated ? 0 : 1})`;
  }
  if (bits < bitsOf(type)) fail(cx, `reads ${bitsOf(type)} bits of ${register.name}, which has ${bits}`);
  const at = bits === 64 ? `${base} + 2 * l` : `${base} + l`;
  switch (type) {
    case "s32":
      return `I[${at}]`;
    case "u32":
    case "b32":
      return `U[${at}]`;
    case "f32":
      return `F[${at}]`;
    case "f64":
      return `D[${base / 2} + l]`;
    case "s64":
      return `B[${base / 2} + l]`;
    case "u64":
    case "b64":
      return `BU[${base / 2} + l]`;
    case "s16":
      return `(I[${at}] << 16 >> 16)`;
    case "s8":
      return `(I[${at}] << 24 >> 24)`;
    case "u8":
    case "b8":
      return `(U[${at}] & 255)`;
    case "f16":
      return `H.f16ToNumber(U[${at}] & 65535)`;
    case "bf16":
      return `H.bf16ToNumber(U[${at}] & 65535)`;
    default:
      return `(U[${at}] & 65535)`;
  }
}

/** A vector as a source packs its items, the first in the low bits (PTX ISA 9.7.9.3). */
function readVector(cx: Emission, items: readonly Value[], type: string): string {
  const part = bitsOf(type) / items.length;
  if (type === "b64" && part === 32) {
    const [low, high] = items.map((item) => `BigInt(${read(cx, item, "u32")})`);
    return `(${high!} << 32n | ${low!})`;
  }
  if (type === "b64")
    return `(${items.map((item, i) => `BigInt(${read(cx, item, "u16")}) << ${i * part}n`).join(" | ")})`;
  return `(${items.map((item, i) => `${read(cx, item, part === 8 ? "u8" : "u16")} << ${i * part}`).join(" | ")})`;
}

function read(cx: Emission, value: Value, type: string): string {
  switch (value.kind) {
    case "register":
      return readRegister(cx, value.register, value.negated, type);
    case "integer":
      return constant(cx, value.value, type);
    case "float":
      if (type === "f64" || type === "f32")
        return literal(type === "f32" ? Math.fround(value.value) : value.value);
      if (type === "b32" || type === "b64") return constant(cx, floatBits(value.value, bitsOf(type)), type);
      return fail(cx, "has a float where an integer belongs");
    case "symbol": {
      const address =
        value.space === "shared"
          ? `w.sharedBase + ${value.offset}`
          : value.space === "global"
            ? `w.globals[${value.offset}]`
            : `${value.offset}`;
      if (bitsOf(type) === 64) return value.space === "global" ? address : `BigInt(${address})`;
      return value.space === "global" ? `Number(BigInt.asUintN(32, ${address}))` : `(${address})`;
    }
    case "special": {
      const special: SpecialRead | undefined = readSpecial(value.name);
      if (special === undefined)
        return fail(cx, `reads ${value.name}, a special register that I do not know`);
      if (type === "pred") return `(${special.text} !== 0)`;
      return bitsOf(type) === 64 ? `BigInt(${special.text})` : `(${special.text})`;
    }
    case "vector":
      return readVector(cx, value.items, type);
    default:
      return fail(cx, `has an operand (${value.kind}) that does not belong there`);
  }
}

function writeRegister(cx: Emission, register: Register, type: string, text: string): string {
  const { base, bits } = register;
  const at = bits === 64 ? `${base} + 2 * l` : `${base} + l`;
  if (type === "pred") {
    if (bits !== 1) fail(cx, `writes a predicate to ${register.name}`);
    cx.predicates.add(base);
    cx.written.add(base);
    return `p${base} = (${text}) ? p${base} | 1 << l : p${base} & ~(1 << l);`;
  }
  const width = bitsOf(type);
  if (bits < width) fail(cx, `writes ${width} bits to ${register.name}, which has ${bits}`);
  if (bits === 64 && width < 64)
    return `${type.startsWith("s") ? "B" : "BU"}[${base / 2} + l] = BigInt(${extend(type, text)});`;
  switch (type) {
    case "f32":
      return `{ const r = ${text}; if (r === r) F[${at}] = r; else I[${at}] = 0x7fffffff; }`;
    case "f64":
      return `D[${base / 2} + l] = ${text};`;
    case "s64":
    case "u64":
    case "b64":
      return `BU[${base / 2} + l] = ${text};`;
    case "f16":
      return `I[${at}] = H.numberToF16(${text});`;
    case "bf16":
      return `I[${at}] = H.numberToBf16(${text});`;
    case "s32":
    case "u32":
    case "b32":
      return `I[${at}] = ${text};`;
    default:
      return `I[${at}] = ${bits === 16 ? `${extend(type, text)} & 65535` : extend(type, text)};`;
  }
}

/** Widens by the sign of the type. */
function extend(type: string, text: string): string {
  switch (type) {
    case "s8":
      return `((${text}) << 24 >> 24)`;
    case "s16":
      return `((${text}) << 16 >> 16)`;
    case "u8":
    case "b8":
      return `((${text}) & 255)`;
    case "u16":
    case "b16":
      return `((${text}) & 65535)`;
    case "s32":
      return `((${text}) | 0)`;
    default:
      return `((${text}) >>> 0)`;
  }
}

/** A vector as the result takes the value apart. */
function writeVector(cx: Emission, items: readonly Value[], type: string, text: string): string {
  const part = bitsOf(type) / items.length;
  const wide = bitsOf(type) === 64;
  const pieces = items.map((item, i) => {
    if (item.kind === "sink") return "";
    if (item.kind !== "register") return fail(cx, "has a result that is no register");
    const piece = wide
      ? `Number(BigInt.asUintN(${part}, v >> ${i * part}n))`
      : `(v >>> ${i * part}) & ${2 ** part - 1}`;
    return writeRegister(cx, item.register, part === 32 ? "b32" : part === 8 ? "u8" : "b16", piece);
  });
  return `{ const v = ${text}; ${pieces.join(" ")} }`;
}

function write(cx: Emission, value: Value, type: string, text: string): string {
  switch (value.kind) {
    case "register":
      return writeRegister(cx, value.register, type, text);
    case "vector":
      return writeVector(cx, value.items, type, text);
    case "sink":
      return "";
    default:
      return fail(cx, "has a result that is no register");
  }
}

interface OperandSpec {
  readonly name: string;
  readonly type: string;
}

/** Reads "d a b:u32 c:2*type" under the choices that were met. */
export function operandSpecs(
  row: LaneRow,
  choices: Readonly<Record<string, string | undefined>>,
): OperandSpec[] {
  return row.operands.split(" ").map((text) => {
    const [name, spec = "type"] = text.split(":") as [string, string?];
    if (spec.startsWith("2*")) {
      const narrow = choices[spec.slice(2)]!;
      return { name, type: narrow[0]! + String(2 * Number(narrow.slice(1))) };
    }
    if (spec === "bits") return { name, type: `b${bitsOf(choices["type"]!)}` };
    return { name, type: choices[spec] ?? spec };
  });
}

/** f16x2 and bf16x2: the expression once for each half. */
function packedCode(
  cx: Emission,
  specs: readonly OperandSpec[],
  values: readonly Value[],
  is: string,
): string {
  const scalar = specs[0]!.type.replace("x2", "");
  const decode = scalar === "f16" ? "H.f16ToNumber" : "H.bf16ToNumber";
  const encode = scalar === "f16" ? "H.numberToF16" : "H.numberToBf16";
  const words = specs.slice(1).map((spec, i) => `const ${spec.name}w = ${read(cx, values[i + 1]!, "b32")};`);
  const half = (shift: number): string => {
    const names = specs
      .slice(1)
      .map((spec) => `const ${spec.name} = ${decode}(${spec.name}w >>> ${shift} & 65535);`);
    return `{ ${names.join(" ")} r |= ${encode}(${is}) << ${shift}; }`;
  };
  return `${words.join(" ")} let r = 0; ${half(0)} ${half(16)} ${write(cx, values[0]!, "b32", "r")}`;
}

/** The statements of one instruction for lane `l`. */
export function laneCode(
  site: Site,
  row: LaneRow,
  guard: { readonly register: Register; readonly negated: boolean } | undefined,
): LaneCode {
  const cx: Emission = { site, predicates: new Set(), written: new Set() };
  const specs = operandSpecs(row, site.choices);
  if (specs.length !== site.operands.length)
    fail(cx, `has ${site.operands.length} operands where ${specs.length} belong`);
  const is = typeof row.is === "string" ? row.is : row.is(site.choices);
  const [result] = site.operands;
  let body: string;
  if (specs[0]!.type.endsWith("f16x2")) body = packedCode(cx, specs, site.operands, is);
  else {
    const reads = specs
      .slice(1)
      .map((spec, i) => `const ${spec.name} = ${read(cx, site.operands[i + 1]!, spec.type)};`);
    checkWidths(cx, row, specs);
    if (result!.kind === "pair") {
      if (row.second === undefined) fail(cx, "has two results");
      const second = write(cx, result!.second, specs[0]!.type, "second");
      body = `${reads.join(" ")} const second = ${row.second!(site.choices)}; ${write(cx, result!.first, specs[0]!.type, is)} ${second}`;
    } else body = `${reads.join(" ")} ${write(cx, result!, specs[0]!.type, is)}`;
  }
  let text = `{ ${body} }`;
  if (guard !== undefined) text = `if (${readRegister(cx, guard.register, guard.negated, "pred")}) ${text}`;
  return { text, predicates: [...cx.predicates], written: [...cx.written] };
}

/** Registers must have the width of their type, but in `cvt`, where they may be wider (PTX ISA 9.4.1). */
function checkWidths(cx: Emission, row: LaneRow, specs: readonly OperandSpec[]): void {
  if (row.pattern.startsWith("cvt")) return;
  specs.forEach((spec, i) => {
    const value = cx.site.operands[i]!;
    if (
      value.kind === "register" &&
      value.register.bits !== Math.max(bitsOf(spec.type), spec.type === "pred" ? 1 : 16)
    ) {
      fail(cx, `uses ${value.register.name}, a register of ${value.register.bits} bits, as ${spec.type}`);
    }
  });
}
