/** Reads JSON from outside field by field; an error says which place of the plan is not what it must be. */

/** A plan that is damaged, or not a plan. */
export class PlanError extends Error {
  override readonly name = "PlanError";
}

/** A place in a JSON document and what stands there. */
export interface Field {
  /** `launches[3].kernel`; empty for the whole. */
  readonly path: string;
  readonly value: unknown;
}

export function fail(field: Field, expected: string): never {
  const shown = JSON.stringify(field.value)?.slice(0, 60) ?? "missing";
  throw new PlanError(`plan.json: ${field.path || "the whole"} is ${shown}, and ${expected} is expected`);
}

/** The member `name` of an object; its value is undefined where the object lacks it. */
export function member(field: Field, name: string): Field {
  const { value, path } = field;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fail(field, "an object");
  const own = Object.getOwnPropertyDescriptor(value, name);
  return { path: path === "" ? name : `${path}.${name}`, value: own?.value };
}

/** An object's members by name. */
export function members(field: Field): readonly (readonly [string, Field])[] {
  const { value, path } = field;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fail(field, "an object");
  return Object.entries(value).map(([name, item]: [string, unknown]) => [
    name,
    { path: `${path}.${name}`, value: item },
  ]);
}

export function list<T>(field: Field, read: (item: Field) => T): readonly T[] {
  if (!Array.isArray(field.value)) return fail(field, "a list");
  const items: readonly unknown[] = field.value;
  return items.map((value, k) => read({ path: `${field.path}[${k}]`, value }));
}

export function string(field: Field): string {
  return typeof field.value === "string" ? field.value : fail(field, "a string");
}

export function number(field: Field): number {
  return typeof field.value === "number" && Number.isFinite(field.value)
    ? field.value
    : fail(field, "a number");
}

/** An integer from `low` to `high`. */
export function integer(field: Field, low: number, high: number): number {
  const value = number(field);
  return Number.isInteger(value) && value >= low && value <= high
    ? value
    : fail(field, `an integer from ${low} to ${high}`);
}

export function oneOf<T extends string>(field: Field, words: readonly T[]): T {
  return words.find((word) => word === field.value) ?? fail(field, words.join(" or "));
}

export function matching(field: Field, pattern: RegExp, expected: string): string {
  const value = string(field);
  return pattern.test(value) ? value : fail(field, expected);
}
