/** `numerics`: that its words and names mean something here. What it does is decided later. */
import type { Expr, Name, NumericsDecl } from "../../grammar/ast.ts";
import { numericsClause, unknownTarget } from "../diagnostics/directives.ts";
import { nothingKnown } from "./sizes.ts";
import { resolveElement, type TypeContext } from "./types.ts";
import { isCustomFloat, isRounding } from "../types/dtype.ts";
import { type FileScope, type FnEntity, placeOf } from "./scope.ts";
import type { ContractType, TypedNumerics } from "./typed.ts";

export function checkNumerics(scope: FileScope): TypedNumerics[] {
  return scope.ast.declarations.flatMap((decl) =>
    decl.kind === "numerics" ? [numericsOf(scope, decl)] : [],
  );
}

/** The functions that `Mla`, `Mla.decode` or `softmax` stands for; undefined after a report. */
export function targetsOf(
  scope: FileScope,
  target: readonly Name[],
  code: "WF3002" | "WF4002",
): readonly FnEntity[] | undefined {
  const [first, second] = target;
  const entity = first === undefined ? undefined : scope.names.get(first.text);
  if (first === undefined) return undefined;
  if (entity?.kind === "fn" && second === undefined) return [entity];
  if (entity?.kind === "module" && second === undefined) return [...entity.fns.values()];
  const fn = entity?.kind === "module" && second !== undefined ? entity.fns.get(second.text) : undefined;
  if (fn !== undefined) return [fn];
  const wrong = entity?.kind === "module" && second !== undefined ? second : first;
  const known =
    entity?.kind === "module"
      ? entity.fns.keys()
      : [...scope.names].filter(([, e]) => e.kind === "fn" || e.kind === "module").map(([name]) => name);
  scope.report.add(unknownTarget(placeOf(scope, wrong.span), code, wrong.text, known));
  return undefined;
}

// ---------------------------------------------------------------- numerics

function numericsOf(scope: FileScope, decl: NumericsDecl): TypedNumerics {
  targetsOf(scope, decl.target, "WF3002");
  let contract: TypedNumerics["contract"];
  let accumulate: TypedNumerics["accumulate"];
  let bound: TypedNumerics["bound"];
  const cx = typeContext(scope);
  for (const clause of decl.clauses) {
    const place = placeOf(scope, clause.span);
    if (clause.kind === "contract") {
      const types = clause.types.map((t): ContractType | undefined => {
        if (t.kind === "type" && t.name.text === "tf32" && t.axes === undefined && t.args.length === 0) {
          if (t.scale === undefined) return { dtype: "tf32", scale: undefined };
          scope.report.add(
            numericsClause(
              placeOf(scope, t.scale.span),
              "tf32 has the range of f32: no scales",
              "contract: tf32",
            ),
          );
          return undefined;
        }
        const element = resolveElement(cx, t);
        return element?.dtype.kind === "dtype"
          ? { dtype: element.dtype.dtype, scale: element.scale }
          : undefined;
      });
      const [left, right = left] = types;
      if (types.length > 2)
        scope.report.add(
          numericsClause(
            place,
            "a contraction has two factors",
            "contract: e4m3 @ (1, 128), e4m3 @ (128, 128)",
          ),
        );
      else if (types.some((type) => type?.scale !== undefined && isCustomFloat(type.dtype)))
        scope.report.add(
          numericsClause(place, "factors that are scaled by block have a dtype", "contract: e4m3 @ (1, 128)"),
        );
      else if (types.some((type) => type !== undefined && !isRounding(type.dtype)))
        scope.report.add(numericsClause(place, "factors are floats", "contract: bf16"));
      else if (left !== undefined && right !== undefined) contract = { left, right };
    } else if (clause.kind === "accumulate") {
      const element = resolveElement(cx, clause.type);
      const every = clause.every === undefined ? undefined : numberOf(clause.every);
      if (clause.every !== undefined && (every === undefined || !Number.isSafeInteger(every) || every < 1))
        scope.report.add(
          numericsClause(
            placeOf(scope, clause.every.span),
            "'every' takes a whole number",
            "accumulate: f32 every 128",
          ),
        );
      else if (element?.dtype.kind === "dtype" && element.dtype.dtype !== "f32")
        scope.report.add(numericsClause(place, "sums are in f32", "accumulate: f32 every 128"));
      else if (element?.dtype.kind === "dtype") accumulate = { dtype: "f32", every };
    } else {
      const value = numberOf(clause.value);
      if (clause.measure.text !== "rel")
        scope.report.add(
          numericsClause(
            placeOf(scope, clause.measure.span),
            `I know no measure '${clause.measure.text}'`,
            "bound: rel 2^-5",
          ),
        );
      else if (value === undefined || !(value > 0) || !Number.isFinite(value))
        scope.report.add(
          numericsClause(placeOf(scope, clause.value.span), "a bound is a number above 0", "bound: rel 2^-5"),
        );
      else bound = { measure: "rel", value };
    }
  }
  return {
    target: decl.target.map(({ text }) => text).join("."),
    contract,
    accumulate,
    bound,
    place: placeOf(scope, decl.span),
  };
}

function typeContext(scope: FileScope): TypeContext {
  return {
    scope,
    known: nothingKnown,
    bounds: new Map(),
    useDim: () => true,
    dimNames: () => [],
    raggedInstance: (name) => name,
    moduleHeader: () => undefined,
  };
}

/** `2^-5`, `1e-3`, `0.5`. */
function numberOf(e: Expr): number | undefined {
  if (e.kind === "int") return Number(e.value);
  if (e.kind === "float") return e.value;
  if (e.kind === "paren") return numberOf(e.value);
  if (e.kind === "unary" && e.op === "-") {
    const value = numberOf(e.value);
    return value === undefined ? undefined : -value;
  }
  if (e.kind !== "binary") return undefined;
  const [left, right] = [numberOf(e.left), numberOf(e.right)];
  if (left === undefined || right === undefined) return undefined;
  if (e.op === "^") return left ** right;
  if (e.op === "*") return left * right;
  return e.op === "/" ? left / right : undefined;
}
