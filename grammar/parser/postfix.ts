/** What stands in the brackets after a value. */

import type { ParserMethod } from "../chevrotain.ts";
import type { AxisExpr, CallDim, Expr, IndexPart, Name as NameNode, TypeExpr } from "../ast.ts";
import { depthOf } from "../layout-lines.ts";
import { Dtype, End, keyword, Name } from "../tokens.ts";
import { asCallDims, asIndexParts, type BracketItem } from "./brackets.ts";
import { NameParser } from "./names.ts";

/** Which operators an expression may have: all; those of a size; those of an error bound. */
export type Operators = "all" | "size" | "bound";

export const all: { readonly ARGS: [Operators] } = { ARGS: ["all"] };
/** Arithmetic alone, so that `64>` and `k in T | U` end where they should. */
export const size: { readonly ARGS: [Operators] } = { ARGS: ["size"] };

/** How far a read's `else` looks for the `else` of the `if` around it. */
const elseReach = 4096;

export abstract class PostfixParser extends NameParser {
  /**
   * Every expression. A bracket costs few calls of ours, since Chevrotain makes four of each and 256 of
   * them must have room on the stack: so the rules below are few and long.
   */
  protected abstract readonly operation: ParserMethod<[Operators], Expr>;
  protected abstract readonly type: ParserMethod<[], TypeExpr>;
  protected abstract readonly axisList: ParserMethod<[], AxisExpr[]>;
  /** Type parameters in scope: what a `<` after a name may be followed by. */
  protected typeNames: string[] = [];

  protected readonly bracketItem: ParserMethod<[], BracketItem> = this.RULE(
    "bracketItem",
    (): BracketItem => {
      const start = this.here();
      if (this.nextIs("...") && !this.RECORDING_PHASE) {
        this.SKIP_TOKEN();
        return { kind: "pack", span: this.spanFrom(start) };
      }
      const first = this.SUBRULE(this.operation, all);
      return this.OR<BracketItem>([
        {
          ALT: () => {
            this.CONSUME(keyword("in"));
            const range = this.SUBRULE1(this.operation, size);
            return { kind: "in", value: first, range, span: this.spanFrom(start) };
          },
        },
        {
          ALT: () => {
            this.CONSUME(keyword("as"));
            const to = this.SUBRULE2(this.operation, size);
            return { kind: "rename", from: first, to, span: this.spanFrom(start) };
          },
        },
        {
          ALT: () => {
            const parts = [first];
            this.AT_LEAST_ONE(() => {
              this.CONSUME(keyword("|"));
              parts.push(this.SUBRULE3(this.operation, size));
            });
            return { kind: "parts", parts, span: this.spanFrom(start) };
          },
        },
        { ALT: (): BracketItem => ({ kind: "at", value: first, span: this.spanFrom(start) }) },
      ]);
    },
  );

  protected readonly callArgs: ParserMethod<[], Expr[]> = this.RULE("callArgs", () => {
    this.CONSUME(keyword("("));
    const args = this.list(() => this.SUBRULE(this.operation, all));
    this.CONSUME(keyword(")"));
    return args;
  });

  /** `quantize<e4m3 @ (1, 128)>(x)`, `topk<A>[E, 8](a)`. */
  protected readonly genericCall: ParserMethod<[number, Expr], Expr> = this.RULE(
    "genericCall",
    (start: number, callee: Expr): Expr => {
      const { owed } = this;
      this.owed = 0;
      this.CONSUME(keyword("<"));
      const typeArgs = this.list(() => this.SUBRULE(this.type));
      this.CONSUME(keyword(">"));
      let items: BracketItem[] | undefined;
      this.OPTION2(() => {
        this.CONSUME(keyword("["));
        items = this.list(() => this.SUBRULE(this.bracketItem), 2);
        this.CONSUME(keyword("]"));
      });
      const args = this.SUBRULE(this.callArgs);
      this.owed = owed;
      const dims = this.ACTION(() => items && this.callDims(items));
      return { kind: "call", callee, typeArgs, dims, args, span: this.spanFrom(start) };
    },
  );

  protected readonly recordField: ParserMethod<[], { name: NameNode; value: Expr }> = this.RULE(
    "recordField",
    () => {
      const name = this.nameOf(this.CONSUME(Name));
      this.CONSUME(keyword(":"));
      const value = this.SUBRULE(this.operation, all);
      return { name, value };
    },
  );

  // ---------------------------------------------------------------- which meaning

  /** A name's `<` opens type arguments before a dtype or type parameter and then `>`, `@` or `,`. */
  protected typeArgumentsCome(): boolean {
    if (!this.nextIs("<") || !this.nextIsName(0)) return false;
    const isType = this.next(2) === Dtype || this.typeNames.includes(this.LA(2).image);
    return isType && (this.nextIs(">", 3) || this.nextIs("@", 3) || this.nextIs(",", 3));
  }

  /** After `if c then x[i]`, an `else` is the read's only if enough others follow for the `if`s. */
  protected elseIsOurs(): boolean {
    if (this.owed === 0) return true;
    const depth = depthOf(this.LA(1));
    let elses = 0;
    for (let ahead = 2; ahead < elseReach; ahead += 1) {
      const token = this.LA(ahead);
      if (depthOf(token) < depth || token.tokenType === End) break;
      if (depthOf(token) > depth) continue;
      if (token.tokenType === keyword("else")) elses += 1;
      else if (token.tokenType === keyword("if")) elses -= 1;
      if (elses >= this.owed) return true;
    }
    return false;
  }

  protected callDims(items: readonly BracketItem[]): CallDim[] {
    return asCallDims(items, (span, message, help) => this.fail(span, "WF1008", message, help));
  }

  protected indexParts(items: readonly BracketItem[]): IndexPart[] {
    return asIndexParts(items, (span, message, help) => this.fail(span, "WF1008", message, help));
  }
}
