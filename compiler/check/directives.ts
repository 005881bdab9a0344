/** `numerics` and `schedule`: that their words and names mean something here. What they do is decided later. */
import type {
  Expr,
  Name,
  NumericsDecl,
  ScheduleClause,
  ScheduleDecl,
  ScheduleItem,
} from "../../grammar/ast.ts";
import {
  numericsClause,
  scheduleAxis,
  scheduleClause,
  scheduleItem,
  unknownTarget,
} from "../diagnostics/directives.ts";
import { nothingKnown } from "./sizes.ts";
import { resolveElement, type TypeContext } from "./types.ts";
import { isFloat } from "../types/dtype.ts";
import { type FileScope, type FnEntity, isCapital, placeOf } from "./scope.ts";
import type { ContractType, TypedNumerics, TypedSchedule } from "./typed.ts";

export function checkNumerics(scope: FileScope): TypedNumerics[] {
  return scope.ast.declarations.flatMap((decl) =>
    decl.kind === "numerics" ? [numericsOf(scope, decl)] : [],
  );
}

export function checkSchedules(scope: FileScope): TypedSchedule[] {
  return scope.ast.declarations.flatMap((decl) =>
    decl.kind === "schedule" ? [scheduleOf(scope, decl)] : [],
  );
}

/** The functions that `Mla`, `Mla.decode` or `softmax` stands for; undefined after a report. */
function targetsOf(
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
      else if (types.some((type) => type !== undefined && !isFloat(type.dtype)))
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
      else if (element?.dtype.kind === "dtype") accumulate = { dtype: element.dtype.dtype, every };
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

// ---------------------------------------------------------------- schedules

/** Clauses with an example each, which a message shows. */
const clauses: ReadonlyMap<string, string> = new Map([
  ["tile", "tile (S H) 64, T 64"],
  ["split", "split T auto"],
  ["roles", "roles copy 0, math 2 over Ck"],
  ["stages", "stages 2"],
  ["persistent", "persistent"],
  ["cluster", "cluster 2"],
  ["warps", "warps 4"],
  ["unroll", "unroll 4"],
]);

const targetNames = /^(sm_[0-9]{2,3}a?|ptx|cuda|wgsl|llvm|js)$/;

function scheduleOf(scope: FileScope, decl: ScheduleDecl): TypedSchedule {
  const fns = targetsOf(scope, decl.target, "WF4002");
  const target = decl.target.map(({ text }) => text).join(".");
  if (!targetNames.test(decl.on.text))
    scope.report.add(
      scheduleItem(
        placeOf(scope, decl.on.span),
        `I know no target '${decl.on.text}'`,
        "a target is sm_80 and up (sm_90a), cuda, wgsl, llvm or js",
      ),
    );
  for (const clause of decl.clauses) checkClause(scope, clause, target, fns);
  const typed = decl.clauses.map(({ keyword, items, span }) => ({
    keyword: keyword.text,
    items: items.map(printItem),
    place: placeOf(scope, span),
  }));
  return { target, on: decl.on.text, clauses: typed, place: placeOf(scope, decl.span) };
}

function checkClause(
  scope: FileScope,
  clause: ScheduleClause,
  target: string,
  fns: readonly FnEntity[] | undefined,
): void {
  const word = clause.keyword.text;
  const example = clauses.get(word);
  const place = placeOf(scope, clause.keyword.span);
  if (example === undefined) {
    scope.report.add(scheduleClause(place, word, [...clauses.keys()]));
    return;
  }
  const numbers = clause.items.flatMap((item) => item.parts).filter((part) => part.kind === "number");
  const bad = numbers.find((part) => !Number.isSafeInteger(part.value) || part.value < 0);
  if (bad !== undefined)
    scope.report.add(scheduleItem(placeOf(scope, bad.span), `'${word}' takes whole numbers`, example));
  if (word === "persistent" && clause.items.length > 0)
    scope.report.add(scheduleItem(place, "'persistent' stands alone", undefined));
  if (
    (word === "stages" || word === "cluster" || word === "warps" || word === "unroll") &&
    numbers.length === 0
  )
    scope.report.add(scheduleItem(place, `'${word}' takes a number`, example));
  if ((word === "tile" || word === "split" || word === "roles") && clause.items.length === 0)
    scope.report.add(scheduleItem(place, `'${word}' takes a list`, example));
  if (fns === undefined || fns.some((fn) => fn.typed === undefined)) return;
  const known = new Set(
    fns.flatMap((fn) => [
      ...(fn.typed?.dims ?? []),
      ...(fn.typed?.freeDims ?? []),
      ...(fn.typed?.module?.dims ?? []),
    ]),
  );
  for (const item of clause.items) {
    for (const axis of axesOf(item)) {
      if (!known.has(axis.text))
        scope.report.add(scheduleAxis(placeOf(scope, axis.span), axis.text, target, [...known]));
    }
  }
}

function axesOf(item: ScheduleItem): readonly Name[] {
  return item.parts.flatMap((part): readonly Name[] => {
    if (part.kind === "group") return part.axes;
    return part.kind === "word" && isCapital(part.text) ? [{ text: part.text, span: part.span }] : [];
  });
}

function printItem(item: ScheduleItem): string {
  return item.parts
    .map((part) =>
      part.kind === "group"
        ? `(${part.axes.map(({ text }) => text).join(" ")})`
        : part.kind === "word"
          ? part.text
          : String(part.value),
    )
    .join(" ");
}
