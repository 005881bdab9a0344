/** Pipelines as far as their names go; that they are right is proved elsewhere. */
import type { Expr, PipelineAction, PipelineDecl } from "../../grammar/ast.ts";
import { pipelineAction, pipelineItem } from "../diagnostics/directives.ts";
import { declaredTwice, unknownName } from "../diagnostics/names.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { operands } from "./indexings.ts";
import { type FileScope, isCapital, placeOf } from "./scope.ts";
import { nothingKnown, resolveClaims } from "./sizes.ts";

const actions: ReadonlySet<string> = new Set(["F", "B", "I", "W"]);
const functions: ReadonlySet<string> = new Set(["min", "max", "abs", "select"]);

interface Names {
  readonly scope: FileScope;
  readonly values: ReadonlySet<string>;
  readonly directions: ReadonlySet<string>;
}

export function checkPipelines(scope: FileScope): PipelineDecl[] {
  const found = scope.ast.declarations.filter((decl) => decl.kind === "pipeline");
  for (const decl of found) checkPipeline(scope, decl);
  return found;
}

function checkPipeline(scope: FileScope, decl: PipelineDecl): void {
  const values = new Set(decl.params.map(({ text }) => text));
  const directions = new Set<string>();
  const places = new Map<string, Place>();
  const claim = (text: string, place: Place): void => {
    const first = places.get(text);
    if (first !== undefined) scope.report.add(declaredTwice(place, text, first));
    else places.set(text, place);
  };
  const known = {
    scope,
    known: nothingKnown,
    useDim: (name: string): boolean => values.has(name),
    dimNames: (): Iterable<string> => values,
  };
  resolveClaims(known, decl.where);
  const names: Names = { scope, values, directions };
  let ranks = 0;
  for (const item of decl.items) {
    switch (item.kind) {
      case "rank":
        ranks += 1;
        checkValue(names, item.count);
        claim(item.variable.text, placeOf(scope, item.variable.span));
        values.add(item.variable.text);
        break;
      case "direction":
        for (const stage of item.stages) checkValue(names, stage);
        claim(item.name.text, placeOf(scope, item.name.span));
        directions.add(item.name.text);
        break;
      case "let":
        checkValue(names, item.value);
        claim(item.name.text, placeOf(scope, item.name.span));
        (isDirection(names, item.value) ? directions : values).add(item.name.text);
        break;
      case "phase": {
        claim(item.name.text, placeOf(scope, item.name.span));
        if (item.count !== undefined) checkValue(names, item.count);
        const inside: Names =
          item.variable === undefined
            ? names
            : { ...names, values: new Set([...values, item.variable.text]) };
        for (const action of item.body) checkAction(inside, action);
        break;
      }
    }
  }
  const place = placeOf(scope, decl.name.span);
  if (ranks !== 1)
    scope.report.add(
      pipelineItem(
        place,
        `pipeline '${decl.name.text}' has ${ranks === 0 ? "no" : "more than one"} 'rank'`,
        "rank r in P",
      ),
    );
  else if (directions.size === 0)
    scope.report.add(
      pipelineItem(place, `pipeline '${decl.name.text}' has no direction`, "direction down: stage r"),
    );
}

/** `if r < P / 2 then down else up` is a direction; anything else is a number or a condition. */
function isDirection(names: Names, e: Expr): boolean {
  if (e.kind === "paren") return isDirection(names, e.value);
  if (e.kind === "if") return isDirection(names, e.then);
  return e.kind === "name" && names.directions.has(e.name.text);
}

function checkValue(names: Names, e: Expr): void {
  const { scope } = names;
  if (e.kind === "name") {
    const known = [...names.values, ...names.directions];
    if (!known.includes(e.name.text))
      scope.report.add(unknownName(placeOf(scope, e.span), e.name.text, known));
    return;
  }
  if (e.kind === "call") {
    if (e.callee.kind === "name" && functions.has(e.callee.name.text))
      for (const argument of e.args) checkValue(names, argument);
    else if (e.callee.kind === "name")
      scope.report.add(unknownName(placeOf(scope, e.callee.span), e.callee.name.text, functions));
    else
      scope.report.add(
        pipelineItem(placeOf(scope, e.span), "this cannot be computed in a pipeline", undefined),
      );
    return;
  }
  if (e.kind === "int" || e.kind === "bool" || e.kind === "error") return;
  if (e.kind === "binary" || e.kind === "unary" || e.kind === "paren" || e.kind === "if") {
    for (const part of operands(e)) checkValue(names, part);
    return;
  }
  scope.report.add(
    pipelineItem(
      placeOf(scope, e.span),
      "a pipeline computes with whole numbers, conditions and directions",
      undefined,
    ),
  );
}

function checkAction(names: Names, action: PipelineAction): void {
  const { scope } = names;
  switch (action.kind) {
    case "overlap":
      for (const inside of action.actions) checkAction(names, inside);
      return;
    case "if":
      checkValue(names, action.condition);
      for (const inside of [...action.then, ...action.else]) checkAction(names, inside);
      return;
    case "action": {
      const place = placeOf(scope, action.span);
      const name = action.name.text;
      if (!actions.has(name)) scope.report.add(pipelineAction(placeOf(scope, action.name.span), name));
      else if (action.direction === undefined) {
        if (name !== "W")
          scope.report.add(
            pipelineItem(
              place,
              `'${name}' needs a direction`,
              `${name}(${[...names.directions][0] ?? "down"})`,
            ),
          );
      } else checkDirection(names, action.direction);
      if (action.slot !== undefined) checkValue(names, action.slot);
    }
  }
}

function checkDirection(names: Names, e: Expr): void {
  const place = placeOf(names.scope, e.span);
  if (e.kind === "paren") checkDirection(names, e.value);
  else if (e.kind === "if") {
    checkValue(names, e.condition);
    checkDirection(names, e.then);
    checkDirection(names, e.else);
  } else if (e.kind === "name" && names.values.has(e.name.text) && !isCapital(e.name.text)) {
    names.scope.report.add(pipelineItem(place, `'${e.name.text}' is a number, not a direction`, undefined));
  } else if (e.kind === "name" && !names.directions.has(e.name.text))
    names.scope.report.add(unknownName(place, e.name.text, names.directions));
  else if (e.kind !== "name" && e.kind !== "error")
    names.scope.report.add(
      pipelineItem(place, "a direction is a name, or 'if .. then .. else' of names", undefined),
    );
}
