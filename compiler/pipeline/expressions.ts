/**
 * The arithmetic of a pipeline, made into closures once, since a body runs for millions of iterations.
 *
 * Every value is a number: a condition is 0 or 1, a direction its index. Kinds are settled before anything runs.
 */
import type { BinaryOp, Expr } from "../../grammar/ast.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { pipelineValue } from "../diagnostics/pipeline.ts";

export type ValueKind = "number" | "condition" | "direction";

/** Values of the variables, by slot. */
export type Env = number[];

export interface Computed {
  readonly kind: ValueKind;
  readonly run: (env: Env) => number;
}

export interface Variable {
  readonly kind: ValueKind;
  readonly slot: number;
}

/** A value that cannot be; caught where the pipeline is evaluated, and made a diagnostic. */
export class ValueError extends Error {
  override readonly name = "ValueError";
  readonly place: Place;

  constructor(place: Place, message: string) {
    super(message);
    this.place = place;
  }

  diagnostic(): ReturnType<typeof pipelineValue> {
    return pipelineValue(this.place, this.message);
  }
}

export interface Names {
  readonly file: string;
  readonly variables: ReadonlyMap<string, Variable>;
}

export function compute(names: Names, e: Expr): Computed {
  const place = { file: names.file, start: e.span.start, end: e.span.end };
  switch (e.kind) {
    case "int": {
      const value = Number(e.value);
      if (!Number.isSafeInteger(value)) throw new ValueError(place, "this number is too large");
      return { kind: "number", run: () => value };
    }
    case "bool": {
      const value = e.value ? 1 : 0;
      return { kind: "condition", run: () => value };
    }
    case "paren":
      return compute(names, e.value);
    case "name": {
      const found = names.variables.get(e.name.text);
      if (found === undefined) throw new ValueError(place, `'${e.name.text}' has no value here`);
      const { slot, kind } = found;
      return { kind, run: (env) => env[slot] ?? 0 };
    }
    case "unary": {
      const value = expect(names, e.value, e.op === "-" ? "number" : "condition").run;
      return e.op === "-"
        ? { kind: "number", run: (env) => 0 - value(env) }
        : { kind: "condition", run: (env) => 1 - value(env) };
    }
    case "binary":
      return binary(names, e.op, e.left, e.right, place);
    case "if": {
      const condition = expect(names, e.condition, "condition").run;
      const then = compute(names, e.then);
      const otherwise = expect(names, e.else, then.kind).run;
      return { kind: then.kind, run: (env) => (condition(env) === 1 ? then.run(env) : otherwise(env)) };
    }
    case "call":
      return call(names, e.callee.kind === "name" ? e.callee.name.text : "", e.args, place);
    default:
      throw new ValueError(place, "a pipeline computes with whole numbers, conditions and directions");
  }
}

/** The expression as a value of one kind. */
export function expect(names: Names, e: Expr, kind: ValueKind): Computed {
  const value = compute(names, e);
  if (value.kind === kind) return value;
  const place = { file: names.file, start: e.span.start, end: e.span.end };
  throw new ValueError(place, `this is a ${value.kind}, and a ${kind} stands here`);
}

function binary(names: Names, op: BinaryOp, a: Expr, b: Expr, place: Place): Computed {
  if (op === "and" || op === "or") {
    const [left, right] = [expect(names, a, "condition").run, expect(names, b, "condition").run];
    return op === "and"
      ? { kind: "condition", run: (env) => (left(env) === 1 ? right(env) : 0) }
      : { kind: "condition", run: (env) => (left(env) === 1 ? 1 : right(env)) };
  }
  if (op === "==" || op === "!=") {
    const first = compute(names, a);
    const [left, right] = [first.run, expect(names, b, first.kind).run];
    return op === "=="
      ? { kind: "condition", run: (env) => (left(env) === right(env) ? 1 : 0) }
      : { kind: "condition", run: (env) => (left(env) === right(env) ? 0 : 1) };
  }
  const [left, right] = [expect(names, a, "number").run, expect(names, b, "number").run];
  switch (op) {
    case "<":
      return { kind: "condition", run: (env) => (left(env) < right(env) ? 1 : 0) };
    case "<=":
      return { kind: "condition", run: (env) => (left(env) <= right(env) ? 1 : 0) };
    case ">":
      return { kind: "condition", run: (env) => (left(env) > right(env) ? 1 : 0) };
    case ">=":
      return { kind: "condition", run: (env) => (left(env) >= right(env) ? 1 : 0) };
    case "+":
      return { kind: "number", run: (env) => exact(left(env) + right(env), place) };
    case "-":
      return { kind: "number", run: (env) => exact(left(env) - right(env), place) };
    case "*":
      return { kind: "number", run: (env) => exact(left(env) * right(env), place) };
    case "/":
      return { kind: "number", run: (env) => Math.floor(left(env) / divisor(right(env), place)) };
    case "%":
      return {
        kind: "number",
        run: (env) => {
          const by = divisor(right(env), place);
          const rest = left(env) % by;
          return rest !== 0 && rest < 0 !== by < 0 ? rest + by : rest + 0;
        },
      };
    case "^":
      return { kind: "number", run: (env) => exact(left(env) ** right(env), place) };
  }
}

function call(names: Names, name: string, args: readonly Expr[], place: Place): Computed {
  const [first, second, third] = args;
  const arity = name === "abs" ? 1 : name === "select" ? 3 : undefined;
  if (first === undefined || (arity !== undefined && args.length !== arity))
    throw new ValueError(place, `'${name}' takes ${arity ?? "one or more"} values`);
  if (name === "select" && second !== undefined && third !== undefined) {
    const condition = expect(names, first, "condition").run;
    const then = compute(names, second);
    const otherwise = expect(names, third, then.kind).run;
    return { kind: then.kind, run: (env) => (condition(env) === 1 ? then.run(env) : otherwise(env)) };
  }
  const values = args.map((arg) => expect(names, arg, "number").run);
  if (name === "abs") return { kind: "number", run: (env) => Math.abs(values[0]?.(env) ?? 0) };
  const choose = name === "min" ? Math.min : Math.max;
  return { kind: "number", run: (env) => values.map((value) => value(env)).reduce((a, b) => choose(a, b)) };
}

function exact(value: number, place: Place): number {
  if (!Number.isSafeInteger(value)) throw new ValueError(place, "this is no whole number up to 2^53 - 1");
  return value;
}

function divisor(value: number, place: Place): number {
  if (value === 0) throw new ValueError(place, "this divides by 0");
  return value;
}
