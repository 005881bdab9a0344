/** Expressions: operators and operands, `for` and `if`. */
/* oxlint-disable unicorn/no-thenable -- `then` is the branch of an `if`; no tree is awaited. */

import type { IToken, ParserMethod, TokenType } from "../chevrotain.ts";
import type { BinaryOp, DimExpr, Expr, ForVariable, Span } from "../ast.ts";
import { limits } from "../limits.ts";
import { Dtype, Float, Hole, Infix as InfixToken, Int, keyword, Name } from "../tokens.ts";
import { nameParts } from "./base.ts";
import { deeperThan } from "./depth.ts";
import { fold, type Infix, type Operand, type Prefix } from "./fold.ts";
import { all, type Operators, PostfixParser, size } from "./postfix.ts";

const arithmetic = "+ - * / %".split(" ").map(keyword);
const operators: Readonly<Record<Operators, ReadonlySet<TokenType>>> = {
  all: new Set([...arithmetic, ..."== != < <= > >= and or where".split(" ").map(keyword)]),
  size: new Set(arithmetic),
  bound: new Set([...arithmetic, keyword("^")]),
};
const suffixes: ReadonlySet<TokenType> = new Set(". ( [ <".split(" ").map(keyword));

/** Where an operand stands: a read's default is a tight one, without `not`. */
type Place = "anywhere" | "default";

export abstract class ExpressionParser extends PostfixParser {
  protected readonly expression: ParserMethod<[], Expr> = this.RULE("expression", () =>
    this.SUBRULE(this.operation, all),
  );

  protected readonly dim: ParserMethod<[], DimExpr> = this.RULE("dim", () =>
    this.SUBRULE(this.operation, size),
  );

  /** `2^-5`, the only place of `^`. */
  protected readonly bound: ParserMethod<[], Expr> = this.RULE("bound", () =>
    this.SUBRULE(this.operation, { ARGS: ["bound"] }),
  );

  protected override readonly operation: ParserMethod<[Operators], Expr> = this.RULE(
    "operation",
    (allowed: Operators): Expr => {
      this.enter();
      const start = this.here();
      const operands: Operand[] = [];
      const infixes: Infix[] = [];
      operands.push(this.SUBRULE1(this.operand, { ARGS: ["anywhere"] }));
      this.MANY({
        GATE: () => this.#infixComes(allowed),
        DEF: () =>
          this.OR([
            {
              ALT: () => {
                infixes.push(this.SUBRULE(this.infix));
                operands.push(this.SUBRULE2(this.operand, { ARGS: ["anywhere"] }));
              },
            },
            { ALT: () => infixes.push(this.SUBRULE(this.reshape)) },
          ]),
      });
      this.leave();
      return this.ACTION(() => this.#folded(start, operands, infixes));
    },
  );

  #folded(start: number, operands: readonly Operand[], infixes: readonly Infix[]): Expr {
    const [only] = operands;
    if (only !== undefined && infixes.length === 0 && only.prefixes.length === 0)
      return this.#checked(start, only.value);
    const value = fold(
      { operands, infixes },
      {
        chained: (first, second) => this.#chained(first, second),
        misplacedNot: (span) => this.#misplacedNot(span),
      },
    );
    return this.#checked(start, value);
  }

  /** A tree that is not too deep, for those who walk it. */
  #checked(start: number, value: Expr): Expr {
    const long = this.depth === 0 && this.there() - start > limits.chain;
    return long && deeperThan(value, limits.chain) ? this.#tooLong(value.span) : value;
  }

  protected readonly infix: ParserMethod<[], Infix> = this.RULE("infix", () => {
    const start = this.here();
    const token = this.CONSUME(InfixToken);
    return { op: token.image as BinaryOp | "where", span: this.spanFrom(start) };
  });

  /** `as [B, S, H, Dh]`. */
  protected readonly reshape: ParserMethod<[], Infix> = this.RULE("reshape", (): Infix => {
    const start = this.here();
    this.CONSUME(keyword("as"));
    this.CONSUME(keyword("["));
    const axes = this.SUBRULE(this.axisList);
    this.CONSUME(keyword("]"));
    return { op: "as", axes, span: this.spanFrom(start) };
  });

  protected readonly operand: ParserMethod<[Place], Operand> = this.RULE(
    "operand",
    (place: Place): Operand => {
      const prefixes: Prefix[] = [];
      this.MANY({
        GATE: () => place === "anywhere" || this.nextIs("-"),
        DEF: () => {
          const sign = this.here();
          const token = this.OR1([
            { ALT: () => this.CONSUME(keyword("-")) },
            { ALT: () => this.CONSUME(keyword("not")) },
          ]);
          prefixes.push({ op: token.image as Prefix["op"], span: this.spanFrom(sign) });
        },
      });
      const start = this.here();
      let value = this.OR2<Expr>({
        DEF: [
          { ALT: () => this.SUBRULE(this.loop) },
          { ALT: () => this.SUBRULE(this.choice) },
          { ALT: () => this.#nameExpr(this.CONSUME(Name)) },
          { ALT: () => this.#nameExpr(this.CONSUME(Dtype)) },
          { ALT: () => this.#bracketed(start) },
          { ALT: () => this.SUBRULE(this.literal) },
        ],
        ERR_MSG: "an expression",
      });
      this.repeat(
        () => !suffixes.has(this.next()) || (this.nextIs("<") && !this.typeArgumentsCome()),
        () => {
          value = this.OR3<Expr>([
            { ALT: () => this.#field(start, value) },
            { ALT: () => this.#call(start, value) },
            { ALT: () => this.#index(start, value) },
            { ALT: () => this.SUBRULE(this.genericCall, { ARGS: [start, value] }) },
          ]);
        },
      );
      return { prefixes, value };
    },
  );

  // The next four are parts of `operand`, and number what they read by that.

  /** `(a + b)`, `(c: a, r: b)`. */
  #bracketed(start: number): Expr {
    const { owed } = this;
    this.owed = 0;
    this.CONSUME1(keyword("("));
    const value = this.OR4<Expr>([
      {
        GATE: () => this.nextIsName() && this.nextIs(":", 2),
        ALT: () => {
          const fields = this.list(() => this.SUBRULE(this.recordField), 1);
          return { kind: "record", fields, span: this.spanFrom(start) };
        },
      },
      {
        ALT: () => ({ kind: "paren", value: this.SUBRULE1(this.operation, all), span: this.spanFrom(start) }),
      },
    ]);
    this.CONSUME1(keyword(")"));
    this.owed = owed;
    return { ...value, span: this.spanFrom(start) };
  }

  #field(start: number, value: Expr): Expr {
    this.CONSUME(keyword("."));
    const field = this.nameOf(this.CONSUME2(Name));
    return { kind: "field", value, field, span: this.spanFrom(start) };
  }

  #call(start: number, callee: Expr): Expr {
    const { owed } = this;
    this.owed = 0;
    this.CONSUME2(keyword("("));
    const args = this.list(() => this.SUBRULE2(this.operation, all), 2);
    this.CONSUME2(keyword(")"));
    this.owed = owed;
    return { kind: "call", callee, typeArgs: [], dims: undefined, args, span: this.spanFrom(start) };
  }

  /** `x[i]`, `x[i] else 0`, and `f[T](x)`, which its `(` tells apart. */
  #index(start: number, value: Expr): Expr {
    const { owed } = this;
    this.owed = 0;
    this.CONSUME(keyword("["));
    const items = this.list(() => this.SUBRULE(this.bracketItem), 3);
    this.CONSUME(keyword("]"));
    let args: Expr[] | undefined;
    this.OPTION1(() => {
      args = this.SUBRULE(this.callArgs);
    });
    this.owed = owed;
    if (args !== undefined && !this.RECORDING_PHASE) {
      const dims = this.ACTION(() => this.callDims(items));
      return { kind: "call", callee: value, typeArgs: [], dims, args, span: this.spanFrom(start) };
    }
    const indices = this.ACTION(() => this.indexParts(items));
    let otherwise: Expr | undefined;
    this.OPTION2({
      GATE: () => this.elseIsOurs(),
      DEF: () => {
        this.CONSUME(keyword("else"));
        otherwise = this.SUBRULE(this.readDefault);
      },
    });
    return { kind: "index", value, indices, else: otherwise, span: this.spanFrom(start) };
  }

  /** What a read gives outside its tensor: `0.0`, `-inf`, `y[i]`. */
  protected readonly readDefault: ParserMethod<[], Expr> = this.RULE("readDefault", (): Expr => {
    this.enter();
    const operand = this.SUBRULE(this.operand, { ARGS: ["default"] });
    this.leave();
    return this.ACTION(() => this.#folded(this.here(), [operand], []));
  });

  protected readonly literal: ParserMethod<[], Expr> = this.RULE("literal", (): Expr => {
    const { image } = this.LA(1);
    const { span } = this.nameOf(this.LA(1));
    return this.OR<Expr>([
      { ALT: () => (this.CONSUME(Int), { kind: "int", value: this.ACTION(() => BigInt(image)), span }) },
      { ALT: () => (this.CONSUME(Float), { kind: "float", value: Number(image), text: image, span }) },
      { ALT: () => (this.CONSUME(keyword("true")), { kind: "bool", value: true, span }) },
      { ALT: () => (this.CONSUME(keyword("false")), { kind: "bool", value: false, span }) },
      { ALT: () => (this.CONSUME(keyword("inf")), { kind: "inf", span }) },
      { ALT: () => (this.CONSUME(Hole), { kind: "error", span }) },
    ]);
  });

  #nameExpr(token: IToken): Expr {
    const name = this.nameOf(token);
    return { kind: "name", name, span: name.span };
  }

  // ---------------------------------------------------------------- for, if

  protected readonly loop: ParserMethod<[], Expr> = this.RULE("loop", (): Expr => {
    const start = this.here();
    this.CONSUME(keyword("for"));
    const variables = this.list(() => this.SUBRULE(this.forVariable));
    if (!this.RECORDING_PHASE && variables.length === 0) this.mark(9, "...");
    this.CONSUME(keyword(":"));
    const body = this.SUBRULE(this.operation, all);
    return { kind: "for", variables, body, span: this.spanFrom(start) };
  });

  protected readonly forVariable: ParserMethod<[], ForVariable> = this.RULE(
    "forVariable",
    (): ForVariable => {
      const start = this.here();
      return this.OR<ForVariable>({
        DEF: [
          {
            ALT: () => {
              this.CONSUME(keyword("..."));
              return { kind: "pack", span: this.spanFrom(start) };
            },
          },
          {
            ALT: () => {
              const name = this.SUBRULE(this.valueName);
              let range: DimExpr | undefined;
              this.OPTION(() => {
                this.CONSUME(keyword("in"));
                range = this.SUBRULE(this.operation, size);
              });
              return { kind: "index", name, range, span: this.spanFrom(start) };
            },
          },
        ],
        ERR_MSG: "an index variable",
      });
    },
  );

  protected readonly choice: ParserMethod<[], Expr> = this.RULE("choice", (): Expr => {
    const start = this.here();
    const { owed } = this;
    this.CONSUME(keyword("if"));
    this.owed = 0;
    const condition = this.SUBRULE1(this.operation, all);
    this.CONSUME(keyword("then"));
    this.owed = owed + 1;
    const then = this.SUBRULE2(this.operation, all);
    this.CONSUME(keyword("else"));
    this.owed = owed;
    const otherwise = this.SUBRULE3(this.operation, all);
    return { kind: "if", condition, then, else: otherwise, span: this.spanFrom(start) };
  });

  // ---------------------------------------------------------------- which meaning

  #infixComes(allowed: Operators): boolean {
    if (this.nextIs("as")) return allowed === "all" && this.nextIs("[", 2);
    return operators[allowed].has(this.next());
  }

  // ---------------------------------------------------------------- mistakes

  #chained(first: Span, second: Span): void {
    const [a, b] = [first, second].map((span) => this.text.slice(span.start, span.end));
    this.fail(
      second,
      "WF1012",
      `comparisons do not chain: '${a}' has given a bool already`,
      `write 'x ${a} y and y ${b} z'`,
    );
  }

  #misplacedNot(span: Span): void {
    this.fail(
      span,
      "WF1008",
      "'not' binds less tightly than the operator before it",
      "put the 'not' and what it denies in parentheses",
    );
  }

  #tooLong(span: Span): Expr {
    this.fail(
      { start: span.start, end: span.start },
      "WF1004",
      `this expression is a chain of more than ${limits.chain} operators`,
      nameParts,
    );
    return { kind: "error", span };
  }
}
