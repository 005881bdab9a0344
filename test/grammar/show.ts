/** Trees and errors as text that a test can hold. */

import type { Expr } from "../../grammar/ast.ts";
import type { SyntaxError } from "../../grammar/index.ts";

/** A tree without its spans and comments: what formatting must not change. */
export function bare(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(bare);
  if (typeof node !== "object" || node === null) return node;
  const kept = Object.entries(node).filter(
    ([key, value]) => key !== "span" && key !== "comments" && value !== undefined,
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, bare(value)]));
}

/** An expression with parentheses around all that has parts; those of the source are `{ }`. */
export function showExpr(e: Expr): string {
  const all = (list: readonly Expr[]): string => list.map(showExpr).join(", ");
  switch (e.kind) {
    case "int":
      return String(e.value);
    case "float":
      return e.text;
    case "bool":
      return String(e.value);
    case "inf":
      return "inf";
    case "error":
      return "<error>";
    case "name":
      return e.name.text;
    case "unary":
      return `(${e.op} ${showExpr(e.value)})`;
    case "binary":
      return `(${showExpr(e.left)} ${e.op} ${showExpr(e.right)})`;
    case "for": {
      const variables = e.variables.map((v) =>
        v.kind === "pack"
          ? "..."
          : v.range === undefined
            ? v.name.text
            : `${v.name.text} in ${showExpr(v.range)}`,
      );
      return `(for ${variables.join(", ")}: ${showExpr(e.body)})`;
    }
    case "if":
      return `(if ${showExpr(e.condition)} then ${showExpr(e.then)} else ${showExpr(e.else)})`;
    case "call": {
      const types =
        e.typeArgs.length === 0
          ? ""
          : `<${e.typeArgs.map((t) => (t.kind === "type" ? t.name.text : t.kind)).join(", ")}>`;
      const dims = e.dims?.map((d) =>
        d.kind === "dim"
          ? showExpr(d.dim)
          : d.kind === "variable"
            ? `${d.name.text} in ${showExpr(d.range)}`
            : d.parts.map(showExpr).join(" | "),
      );
      return `${showExpr(e.callee)}${types}${dims === undefined ? "" : `[${dims.join(", ")}]`}(${all(e.args)})`;
    }
    case "index": {
      const parts = e.indices.map((part) =>
        part.kind === "pack"
          ? "..."
          : part.kind === "at"
            ? showExpr(part.value)
            : `${showExpr(part.from)} as ${showExpr(part.to)}`,
      );
      const read = `${showExpr(e.value)}[${parts.join(", ")}]`;
      return e.else === undefined ? read : `(${read} else ${showExpr(e.else)})`;
    }
    case "field":
      return `${showExpr(e.value)}.${e.field.text}`;
    case "as":
      return `(${showExpr(e.value)} as [${e.axes.map((a) => (a.kind === "pack" ? "..." : showExpr(a.dim))).join(", ")}])`;
    case "where":
      return `(${showExpr(e.value)} where ${showExpr(e.mask)})`;
    case "record":
      return `(${e.fields.map((f) => `${f.name.text}: ${showExpr(f.value)}`).join(", ")})`;
    case "paren":
      return `{${showExpr(e.value)}}`;
  }
}

/** `line:column code: message`, and the help on a line of its own. */
export function showErrors(text: string, errors: readonly SyntaxError[]): string[] {
  return errors.map((error) => {
    const before = text.slice(0, error.span.start).split("\n");
    const at = `${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    const help = error.help === undefined ? "" : ` | ${error.help}`;
    return `${at} ${error.code}: ${error.message}${help}`;
  });
}
