/** Names by what they begin with, and what stands in for what could not be read. */

import type { ParserMethod } from "../chevrotain.ts";
import type { Expr, Name as NameNode, TypeExpr } from "../ast.ts";
import { Name } from "../tokens.ts";
import { GroundParser } from "./base.ts";

export abstract class NameParser extends GroundParser {
  /** A name that the program gives a value: it begins with a small letter. */
  protected readonly valueName: ParserMethod<[], NameNode> = this.RULE("valueName", () => {
    const name = this.nameOf(this.CONSUME(Name));
    this.ACTION(() => this.#checkSmall(name));
    return name;
  });

  /** A dim, type parameter or module: it begins with a capital. */
  protected readonly typeName: ParserMethod<[], NameNode> = this.RULE("typeName", () => {
    const name = this.nameOf(this.CONSUME(Name));
    this.ACTION(() => this.#checkCapital(name));
    return name;
  });

  protected errorExpr(): Expr {
    return { kind: "error", span: { start: this.here(), end: this.here() } };
  }

  protected errorType(): TypeExpr {
    return { kind: "error-type", span: { start: this.here(), end: this.here() } };
  }

  #checkSmall(name: NameNode): void {
    if (!/^[A-Z]/.test(name.text)) return;
    this.fail(
      name.span,
      "WF1011",
      `'${name.text}' names a value, so it begins with a small letter`,
      `call it '${name.text[0]?.toLowerCase()}${name.text.slice(1)}'`,
    );
  }

  #checkCapital(name: NameNode): void {
    if (/^[A-Z]/.test(name.text) || name.text === "") return;
    this.fail(
      name.span,
      "WF1011",
      `'${name.text}' names a dim, a type or a module, so it begins with a capital`,
      `call it '${name.text[0]?.toUpperCase()}${name.text.slice(1)}'`,
    );
  }
}
