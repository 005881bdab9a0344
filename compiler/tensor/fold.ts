/**
 * What `ScalarArena.apply` simplifies as it builds: integer and bool constants, and the neutral elements of integer and
 * bool arithmetic. Each is exact. Floats are left to the simplify pass.
 */
import type { ScalarArena } from "./scalar-arena.ts";
import type { Scalar, ScalarType } from "./ir.ts";
import { scalarFunctions } from "./scalar-functions.ts";

export function foldApply(
  arena: ScalarArena,
  fn: string,
  type: ScalarType,
  args: readonly Scalar[],
): Scalar | undefined {
  const [a, b, c] = args;
  if (fn === "select" && a?.kind === "const") return a.value === true ? b : c;
  if (fn === "select" && b === c) return b;
  const operand = a?.type ?? type;
  if (operand === "f32") return undefined;
  if (args.every((arg) => arg.kind === "const")) return foldConstants(arena, fn, type, operand, args);
  if (b === undefined || a === undefined) return undefined;
  return operand === "bool" ? foldBool(arena, fn, a, b) : foldInteger(arena, fn, a, b);
}

function foldConstants(
  arena: ScalarArena,
  fn: string,
  type: ScalarType,
  operand: ScalarType,
  args: readonly Scalar[],
): Scalar | undefined {
  const row = scalarFunctions.get(fn);
  if (row === undefined) return undefined;
  const values = args.map((arg) => (arg.kind === "const" ? arg.value : 0));
  if (operand === "i64") {
    const [x = 0n, y = 0n, z = 0n] = values.map((v) => BigInt(v));
    const value = row.big(x, y, z);
    return typeof value === "boolean" ? arena.bool(value) : arena.const("i64", BigInt.asIntN(64, value));
  }
  const [x = 0, y = 0, z = 0] = values.map(Number);
  const value = row.int(x, y, z);
  if (type === "bool") return arena.bool(value !== 0);
  return arena.const(type, type === "u32" ? value >>> 0 : value | 0);
}

function foldInteger(arena: ScalarArena, fn: string, a: Scalar, b: Scalar): Scalar | undefined {
  const left = a.kind === "const" ? a.value : undefined;
  const right = b.kind === "const" ? b.value : undefined;
  switch (fn) {
    case "add":
      return isZero(left) ? b : isZero(right) ? a : undefined;
    case "sub":
      return isZero(right) ? a : undefined;
    case "mul":
      if (isOne(left)) return b;
      if (isOne(right)) return a;
      return isZero(left) ? a : isZero(right) ? b : undefined;
    case "floordiv":
      return isOne(right) ? a : undefined;
    case "mod":
      return isOne(right) ? arena.const(a.type, a.type === "i64" ? 0n : 0) : undefined;
    default:
      return undefined;
  }
}

function foldBool(arena: ScalarArena, fn: string, a: Scalar, b: Scalar): Scalar | undefined {
  const left = a.kind === "const" ? a.value : undefined;
  const right = b.kind === "const" ? b.value : undefined;
  if (fn !== "and" && fn !== "or") return undefined;
  const neutral = fn === "and";
  if (left === neutral) return b;
  if (right === neutral || a === b) return a;
  return left !== undefined || right !== undefined ? arena.bool(!neutral) : undefined;
}

function isZero(value: number | bigint | boolean | undefined): boolean {
  return value === 0 || value === 0n;
}
function isOne(value: number | bigint | boolean | undefined): boolean {
  return value === 1 || value === 1n;
}
