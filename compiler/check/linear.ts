/** What is used exactly once: routing plans, in a variable or in a record that a variable holds. */
import type { Place } from "../diagnostics/diagnostic.ts";
import { planRepeated, planUnused, planUsedTwice } from "../diagnostics/linear.ts";
import { type Context, report } from "./context.ts";
import type { Type, Variable } from "./typed.ts";

/** Paths of the plans inside a type: `""` for a plan itself, `.plan` for a field. */
export function planPaths(type: Type): readonly string[] {
  if (type.kind === "plan") return [""];
  if (type.kind !== "record") return [];
  return type.fields.flatMap((field) => planPaths(field.type).map((path) => `.${field.name}${path}`));
}

export function holdPlans(cx: Context, variable: Variable, place: Place): void {
  const paths = planPaths(variable.type);
  if (paths.length === 0 || cx.body.quiet > 0) return;
  const number = cx.body.held.size;
  cx.body.held.set(
    variable,
    paths.map((path) => ({ path, key: `${number}${path}`, place })),
  );
}

/** Uses every plan at or below `path` of the variable. */
export function usePlans(cx: Context, variable: Variable, path: string, place: Place): void {
  if (cx.body.quiet > 0) return;
  for (const held of cx.body.held.get(variable) ?? []) {
    if (!held.path.startsWith(path)) continue;
    const first = cx.body.plans.get(held.key);
    const name = `${variable.name}${held.path}`;
    if (first !== undefined) report(cx, planUsedTwice(place, name, first));
    else if (cx.repeated) report(cx, planRepeated(place, name));
    cx.body.plans.set(held.key, first ?? place);
  }
}

export function reportUnused(cx: Context): void {
  for (const [variable, plans] of cx.body.held) {
    for (const { key, path, place } of plans)
      if (!cx.body.plans.has(key)) report(cx, planUnused(place, `${variable.name}${path}`));
  }
}
