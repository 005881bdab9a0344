/** Where an index variable stands alone as an index, in the order of the source: what its range is found from. */
import type { Expr, IndexExpr } from "../../grammar/ast.ts";

export interface Indexing {
  readonly index: IndexExpr;
  readonly at: number;
}

/** Lazily, since the first one mostly settles it. Stops at a `for` or reduction that hides the name. */
export function* findIndexings(root: Expr, name: string): Generator<Indexing> {
  const stack: Expr[] = [root];
  for (let e = stack.pop(); e !== undefined; e = stack.pop()) {
    if (e.kind === "index") {
      for (const [at, part] of e.indices.entries()) {
        if (part.kind === "at" && part.value.kind === "name" && part.value.name.text === name)
          yield { index: e, at };
      }
    }
    if (!hides(e, name)) stack.push(...[...operands(e)].reverse());
  }
}

function hides(e: Expr, name: string): boolean {
  if (e.kind === "for") return e.variables.some((v) => v.kind === "index" && v.name.text === name);
  if (e.kind !== "call") return false;
  return (e.dims ?? []).some((d) =>
    d.kind === "variable"
      ? d.name.text === name
      : d.kind === "dim" && d.dim.kind === "name" && d.dim.name.text === name,
  );
}

/** The expressions inside, in the order of the source. */
export function operands(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "int":
    case "float":
    case "bool":
    case "inf":
    case "name":
    case "error":
      return [];
    case "unary":
    case "paren":
    case "field":
    case "as":
      return [e.value];
    case "binary":
      return [e.left, e.right];
    case "for":
      return [e.body];
    case "if":
      return [e.condition, e.then, e.else];
    case "call":
      return [e.callee, ...e.args];
    case "index":
      return [
        e.value,
        ...e.indices.flatMap((part) => (part.kind === "at" ? [part.value] : [])),
        ...(e.else === undefined ? [] : [e.else]),
      ];
    case "where":
      return [e.value, e.mask];
    case "record":
      return e.fields.map(({ value }) => value);
  }
}
