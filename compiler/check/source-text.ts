/** Short expressions as the user wrote them, for messages. */
import type { Expr } from "../../grammar/ast.ts";

/** Source text of a short expression, for messages: names and fields as written, anything else by its kind. */
export function textOf(e: Expr): string {
  switch (e.kind) {
    case "name":
      return e.name.text;
    case "field":
      return `${textOf(e.value)}.${e.field.text}`;
    case "int":
      return String(e.value);
    case "float":
      return e.text;
    case "paren":
      return `(${textOf(e.value)})`;
    case "binary":
      return `${textOf(e.left)} ${e.op} ${textOf(e.right)}`;
    case "unary":
      return `${e.op === "not" ? "not " : "-"}${textOf(e.value)}`;
    case "index":
      return `${textOf(e.value)}[..]`;
    case "call":
      return `${textOf(e.callee)}(..)`;
    default:
      return "this";
  }
}
