/**
 * The dims of one run: those bound when the plan was compiled, and the dynamic ones as the inputs' shapes give
 * them. Every extent of every input is then held against the plan.
 */
import type { Plan, PlanTensor } from "../../compiler/plan/plan.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import { DeviceError } from "../device.ts";
import { typeText } from "../tensor/tensor.ts";
import type { Dims, Size } from "./size.ts";
import { SizeError, parseSize } from "./size.ts";

/** What an input must say of itself: host and device tensors do. */
export interface Typed {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** What a plan says of its inputs; a program that is only to be interpreted says it too. */
export type InputSpec = Pick<Plan, "program" | "dims" | "inputs">;

/** Values of all dims. Throws `DeviceError` for a missing, unknown or misshapen input, or a dim that none fixes. */
export function bindDims(plan: InputSpec, inputs: ReadonlyMap<string, Typed>): Dims {
  checkNames(plan, inputs);
  for (const input of plan.inputs) {
    if (!inputs.has(input.name))
      throw new DeviceError(`input '${input.name}' is missing: ${expectedType(input)}`);
  }
  const { dims, open } = tellDims(plan, inputs);
  const [lost] = open;
  if (lost !== undefined) throw new DeviceError(`no input's shape tells the size of ${lost}`);
  return dims;
}

export interface ToldDims {
  /** Those bound at compile time too. */
  readonly dims: Dims;
  /** Dynamic dims that no given input tells. */
  readonly open: ReadonlySet<string>;
}

/** What some of the inputs tell of the dims. Throws `DeviceError` where one is misshapen. */
export function tellDims(plan: InputSpec, inputs: ReadonlyMap<string, Typed>): ToldDims {
  const dims = new Map(Object.entries(plan.dims.bound));
  const given = plan.inputs.flatMap((input) => {
    const tensor = inputs.get(input.name);
    return tensor === undefined ? [] : extentsOf(input, tensor);
  });
  // A dim may be told only by an extent such as 2 * F whose other dims another input tells first.
  const open = new Set(plan.dims.dynamic);
  for (let before = -1; open.size !== before;) {
    before = open.size;
    for (const { size, names, value } of given) {
      const unknown = names.filter((name) => open.has(name));
      const [name] = unknown;
      if (name === undefined || unknown.length > 1) continue;
      const solved = solve(size, dims, name, value);
      if (solved === undefined) continue;
      dims.set(name, solved);
      open.delete(name);
    }
  }
  for (const { input, axis, size, names, text, value } of given) {
    if (names.some((name) => open.has(name))) continue;
    const expected = size(dims);
    if (expected === value) continue;
    const named = text === String(expected) ? text : `${text} = ${expected}`;
    throw new DeviceError(
      `input '${input.name}': axis ${axis + 1} has ${value} elements, and ${named} are expected`,
    );
  }
  return { dims, open };
}

/** Throws `DeviceError` with the message of the first relation that these dims break. */
export function checkRelations(plan: Plan, dims: Dims): void {
  for (const { left, relation, right, message } of plan.checks) {
    const [a, b] = [parseSize(left)(dims), parseSize(right)(dims)];
    if (!holds(a, relation, b)) throw new DeviceError(`${message} (${left} is ${a}, ${right} is ${b})`);
  }
}

function holds(a: number, relation: Plan["checks"][number]["relation"], b: number): boolean {
  switch (relation) {
    case "==":
      return a === b;
    case "!=":
      return a !== b;
    case "<":
      return a < b;
    case "<=":
      return a <= b;
  }
}

function checkNames(plan: InputSpec, inputs: ReadonlyMap<string, Typed>): void {
  const names = new Set(plan.inputs.map((input) => input.name));
  for (const name of inputs.keys()) {
    if (!names.has(name)) {
      throw new DeviceError(
        `${plan.program} has no input '${name}'; it has ${[...names].join(", ") || "none"}`,
      );
    }
  }
}

interface Extent {
  readonly input: PlanTensor;
  readonly axis: number;
  readonly text: string;
  readonly size: Size;
  readonly names: readonly string[];
  readonly value: number;
}

function expectedType(input: PlanTensor): string {
  return `${input.dtype}[${input.shape.join(", ")}]`;
}

function extentsOf(input: PlanTensor, tensor: Typed): readonly Extent[] {
  if (tensor.dtype !== input.dtype || tensor.shape.length !== input.shape.length) {
    throw new DeviceError(
      `input '${input.name}' is ${typeText(tensor)}, and ${expectedType(input)} is expected`,
    );
  }
  return input.shape.map((text, axis) => ({
    input,
    axis,
    text,
    size: parseSize(text),
    names: text.match(/[A-Za-z_][A-Za-z0-9_]*(?! *\()/g) ?? [],
    value: tensor.shape[axis] ?? -1,
  }));
}

/** The value of `name` that makes `size` equal `value`, where `size` is linear in it; undefined where none does. */
function solve(size: Size, known: Dims, name: string, value: number): number | undefined {
  const at = (candidate: number): number | undefined => {
    try {
      return size(new Map([...known, [name, candidate]]));
    } catch (error) {
      if (error instanceof SizeError) return undefined;
      throw error;
    }
  };
  const [first, second] = [at(1), at(2)];
  if (first === undefined || second === undefined || first === second) return undefined;
  const solved = 1 + (value - first) / (second - first);
  return Number.isSafeInteger(solved) && solved >= 0 && at(solved) === value ? solved : undefined;
}
