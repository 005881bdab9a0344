/**
 * Evaluates a plan's sizes: names, integers, `+ - *`, and `floordiv ceildiv mod min max` as calls of two or more
 * arguments. Written apart from the compiler's algebra, for a plan may come from a file and be run with no
 * compiler present. Arithmetic is exact or throws.
 */
import type { SizeExpr } from "../../compiler/plan/plan.ts";

/** A size that does not parse, or that the given dims do not give a value. */
export class SizeError extends Error {
  override readonly name = "SizeError";
}

export type Dims = ReadonlyMap<string, number>;
export type Size = (dims: Dims) => number;

const maxLength = 10_000;
const maxDepth = 100;

/** Parses once; the function may be called for any dims. Throws `SizeError`. */
export function parseSize(text: SizeExpr): Size {
  if (text.length > maxLength) throw new SizeError(`a size of ${text.length} characters`);
  return new SizeReader(text).whole();
}

/** The value of a count: an extent, a grid, a number of bytes. Throws `SizeError` when it is negative. */
export function evaluateCount(text: SizeExpr, dims: Dims): number {
  return countOf(text, parseSize(text), dims);
}

/** Like `evaluateCount`, for a size parsed before. */
export function countOf(text: SizeExpr, size: Size, dims: Dims): number {
  const value = size(dims);
  if (value < 0) throw new SizeError(`the size ${text} is ${value}`);
  return value;
}

type Fold = (left: number, right: number) => number;

const calls: ReadonlyMap<string, Fold> = new Map<string, Fold>([
  ["floordiv", (a, b) => (a - floorMod(a, b)) / b],
  ["ceildiv", (a, b) => (a + floorMod(-a, b)) / b],
  ["mod", floorMod],
  ["min", Math.min],
  ["max", Math.max],
]);

/** The remainder with the divisor's sign; exact for safe integers, as division of doubles is not. */
function floorMod(a: number, b: number): number {
  if (b === 0) throw new SizeError(`${a} is divided by zero`);
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest + 0;
}

function exact(value: number): number {
  if (!Number.isSafeInteger(value)) throw new SizeError(`a size reaches ${value}, beyond 2^53`);
  // Zero has one sign: -1 * 0 is 0.
  return value + 0;
}

class SizeReader {
  readonly #text: string;
  readonly #tokens: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = text.match(/[A-Za-z_][A-Za-z0-9_.]*|[0-9]+|[^\s]/g) ?? [];
  }

  whole(): Size {
    const size = this.#sum();
    if (this.#at < this.#tokens.length) this.#fail();
    return size;
  }

  #sum(): Size {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw new SizeError(`a size is nested more than ${maxDepth} deep`);
    let left = this.#product();
    for (;;) {
      const sign = this.#taken("+") ? 1 : this.#taken("-") ? -1 : 0;
      if (sign === 0) break;
      const [a, b] = [left, this.#product()];
      left = (dims) => exact(a(dims) + sign * b(dims));
    }
    this.#depth -= 1;
    return left;
  }

  #product(): Size {
    let left = this.#factor();
    while (this.#taken("*")) {
      const [a, b] = [left, this.#factor()];
      left = (dims) => exact(a(dims) * b(dims));
    }
    return left;
  }

  #factor(): Size {
    let negative = false;
    while (this.#taken("-")) negative = !negative;
    const size = this.#unsigned();
    return negative ? (dims) => 0 - size(dims) : size;
  }

  #unsigned(): Size {
    if (this.#taken("(")) {
      const inner = this.#sum();
      this.#expect(")");
      return inner;
    }
    const token = this.#tokens[this.#at] ?? this.#fail();
    this.#at += 1;
    if (/^[0-9]/.test(token)) {
      const value = exact(Number(token));
      return () => value;
    }
    if (!/^[A-Za-z_]/.test(token)) this.#fail();
    return this.#taken("(") ? this.#call(token) : dimOf(token);
  }

  #call(name: string): Size {
    const fold = calls.get(name) ?? this.#fail();
    const args = [this.#sum()];
    while (this.#taken(",")) args.push(this.#sum());
    this.#expect(")");
    const [first, ...rest] = args;
    if (first === undefined || rest.length === 0) this.#fail();
    return (dims) => rest.reduce((value, arg) => fold(value, arg(dims)) + 0, first(dims));
  }

  #taken(mark: string): boolean {
    if (this.#tokens[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #expect(mark: string): void {
    if (!this.#taken(mark)) this.#fail();
  }

  #fail(): never {
    throw new SizeError(`'${this.#text.slice(0, 200)}' is not a size`);
  }
}

function dimOf(name: string): Size {
  return (dims) => {
    const value = dims.get(name);
    if (value === undefined) throw new SizeError(`the dim ${name} has no value`);
    return value;
  };
}
