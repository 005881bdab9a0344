/** Expressions. */

import type { IToken, ParserMethod, TokenType } from "chevrotain";
import type {
  AxisExpr, BinaryOp, CallDim, DimExpr, Expr, ForVariable, IndexPart, Name as NameNode, Span, TypeExpr,
} from "../ast.ts";
import { depthOf } from "../layout-lines.ts";
import { limits } from "../limits.ts";
import { Dtype, End, Float, Hole, Infix as InfixToken, Int, keyword, Name } from "../tokens.ts";
import { GroundParser, TooDeep } from "./base.ts";
import { asCallDims, asIndexParts, type BracketItem } from "./brackets.ts";
import { deeperThan } from "./depth.ts";
import { fold, type Infix, type Operand, type Prefix } from "./fold.ts";

/** Which operators an expression may have: all; those of a size; those of an error bound. */
type Operators = "all" | "size" | "bound";

const arithmetic = "+ - * / %".split(" ").map(keyword);
const operators: Readonly<Record<Operators, ReadonlySet<TokenType>>> = {
  all: new Set([...arithmetic, ..."== != < <= > >= and or where".split(" ").map(keyword)]),
  size: new Set(arithmetic),
  bound: new Set([...arithmetic, keyword("^")]),
};

const nameParts = "give the inner parts names with 'let'";

/** How far a read's `else` looks for the `else` of the `if` around it. */
const elseReach = 4096;

export abstract class ExpressionParser extends GroundParser {
  protected abstract readonly type: ParserMethod<[], TypeExpr>;
  protected abstract readonly axisList: ParserMethod<[], AxisExpr[]>;
  /** Type parameters in scope: what a `<` after a name may be followed by. */
  protected typeNames: string[] = [];
  /** `if`s around us, in the same brackets, whose `else` is still to come. */
  #owed = 0;
  #depth = 0;

  protected readonly expression: ParserMethod<[], Expr> = this.RULE("expression", () =>
    this.SUBRULE(this.operation, { ARGS: ["all"] }),
  );

  /** A size: arithmetic alone, so that `64>` and `k in T | U` end where they should. */
  protected readonly dim: ParserMethod<[], DimExpr> = this.RULE("dim", () =>
    this.SUBRULE(this.operation, { ARGS: ["size"] }),
  );

  /** `2^-5`, the only place of `^`. */
  protected readonly bound: ParserMethod<[], Expr> = this.RULE("bound", () =>
    this.SUBRULE(this.operation, { ARGS: ["bound"] }),
  );

  readonly #operationBody = (allowed: Operators): Expr => {
    const start = this.here();
    const operands: Operand[] = [];
    const infixes: Infix[] = [];
    operands.push(this.SUBRULE1(this.operand));
    this.MANY({
      GATE: () => this.#infixComes(allowed),
      DEF: () =>
        this.OR([
          {
            ALT: () => {
              infixes.push(this.SUBRULE(this.infix));
              operands.push(this.SUBRULE2(this.operand));
            },
          },
          { ALT: () => infixes.push(this.SUBRULE(this.reshape)) },
        ]),
    });
    return this.ACTION(() => {
      const value = fold(
        { operands, infixes },
        { chained: (first, second) => this.#chained(first, second), misplacedNot: (span) => this.#misplacedNot(span) },
      );
      const long = this.#depth === 1 && this.there() - start > limits.chain;
      return long && deeperThan(value, limits.chain) ? this.#tooLong(value.span) : value;
    });
  };

  protected readonly operation: ParserMethod<[Operators], Expr> = this.RULE("operation", (allowed: Operators): Expr => {
    return this.nested(() => this.#operationBody(allowed));
  });

  /** Runs `body` one level deeper, unless there are too many. */
  protected nested<T>(body: () => T): T {
    if (this.#depth >= limits.nesting) {
      const at = this.here();
      const message = `expressions and types are nested more than ${limits.nesting} deep here`;
      this.fail({ start: at, end: at }, "WF1004", message, nameParts);
      throw new TooDeep();
    }
    this.#depth += 1;
    try {
      return body();
    } finally {
      this.#depth -= 1;
    }
  }

  protected errorExpr(): Expr {
    return { kind: "error", span: { start: this.here(), end: this.here() } };
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

  protected readonly operand: ParserMethod<[], Operand> = this.RULE("operand", () => {
    const prefixes: Prefix[] = [];
    this.MANY(() => {
      const start = this.here();
      const token = this.OR1([
        { ALT: () => this.CONSUME(keyword("-")) },
        { ALT: () => this.CONSUME(keyword("not")) },
      ]);
      prefixes.push({ op: token.image as Prefix["op"], span: this.spanFrom(start) });
    });
    const value = this.OR2({
      DEF: [
        { ALT: () => this.SUBRULE(this.loop) },
        { ALT: () => this.SUBRULE(this.choice) },
        { ALT: () => this.SUBRULE(this.postfix) },
      ],
      ERR_MSG: "an expression",
    });
    return { prefixes, value };
  });

  // ---------------------------------------------------------------- for, if

  protected readonly loop: ParserMethod<[], Expr> = this.RULE("loop", (): Expr => {
    const start = this.here();
    this.CONSUME(keyword("for"));
    const variables = this.list(() => this.SUBRULE(this.forVariable));
    if (!this.RECORDING_PHASE && variables.length === 0) this.mark(9, "...");
    this.CONSUME(keyword(":"));
    const body = this.SUBRULE(this.expression);
    return { kind: "for", variables, body, span: this.spanFrom(start) };
  });

  protected readonly forVariable: ParserMethod<[], ForVariable> = this.RULE("forVariable", (): ForVariable => {
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
              range = this.SUBRULE(this.dim);
            });
            return { kind: "index", name, range, span: this.spanFrom(start) };
          },
        },
      ],
      ERR_MSG: "an index variable",
    });
  });

  protected readonly choice: ParserMethod<[], Expr> = this.RULE("choice", (): Expr => {
    const start = this.here();
    this.CONSUME(keyword("if"));
    const condition = this.#owing(0, () => this.SUBRULE1(this.expression));
    this.CONSUME(keyword("then"));
    const then = this.#owing(this.#owed + 1, () => this.SUBRULE2(this.expression));
    this.CONSUME(keyword("else"));
    const otherwise = this.SUBRULE3(this.expression);
    return { kind: "if", condition, then, else: otherwise, span: this.spanFrom(start) };
  });

  // ---------------------------------------------------------------- index, call, field

  protected readonly postfix: ParserMethod<[], Expr> = this.RULE("postfix", (): Expr => {
    const start = this.here();
    let value = this.SUBRULE(this.primary);
    this.MANY({
      GATE: () => !this.nextIs("<") || this.#typeArgumentsCome(),
      DEF: () => {
        value = this.OR([
          { ALT: () => this.SUBRULE(this.field, { ARGS: [start, value] }) },
          { ALT: () => this.SUBRULE(this.call, { ARGS: [start, value] }) },
          { ALT: () => this.SUBRULE(this.bracket, { ARGS: [start, value] }) },
          { ALT: () => this.SUBRULE(this.genericCall, { ARGS: [start, value] }) },
        ]);
      },
    });
    return value;
  });

  protected readonly field: ParserMethod<[number, Expr], Expr> = this.RULE("field", (start: number, value: Expr): Expr => {
    this.CONSUME(keyword("."));
    const field = this.nameOf(this.CONSUME(Name));
    return { kind: "field", value, field, span: this.spanFrom(start) };
  });

  protected readonly call: ParserMethod<[number, Expr], Expr> = this.RULE("call", (start: number, callee: Expr): Expr => {
    const args = this.SUBRULE(this.callArgs);
    return { kind: "call", callee, typeArgs: [], dims: undefined, args, span: this.spanFrom(start) };
  });

  protected readonly callArgs: ParserMethod<[], Expr[]> = this.RULE("callArgs", () => {
    this.CONSUME(keyword("("));
    const args = this.#owing(0, () => this.list(() => this.SUBRULE(this.expression)));
    this.CONSUME(keyword(")"));
    return args;
  });

  /** `x[i]`, `x[i] else 0`, and `f[T](x)`, which its `(` tells apart. */
  protected readonly bracket: ParserMethod<[number, Expr], Expr> = this.RULE("bracket", (start: number, value: Expr): Expr => {
    this.CONSUME(keyword("["));
    const items = this.#owing(0, () => this.list(() => this.SUBRULE(this.bracketItem)));
    this.CONSUME(keyword("]"));
    return this.OR<Expr>([
      {
        ALT: () => {
          const args = this.SUBRULE(this.callArgs);
          const dims = this.ACTION(() => this.#callDims(items));
          return { kind: "call", callee: value, typeArgs: [], dims, args, span: this.spanFrom(start) };
        },
      },
      {
        ALT: () => {
          const indices = this.ACTION(() => this.#indexParts(items));
          let otherwise: Expr | undefined;
          this.OPTION({
            GATE: () => this.#elseIsOurs(),
            DEF: () => {
              this.CONSUME(keyword("else"));
              otherwise = this.SUBRULE(this.readDefault);
            },
          });
          return { kind: "index", value, indices, else: otherwise, span: this.spanFrom(start) };
        },
      },
    ]);
  });

  /** What a read gives outside its tensor: `0.0`, `-inf`, `y[i]`. */
  protected readonly readDefault: ParserMethod<[], Expr> = this.RULE("readDefault", (): Expr => {
    const signs: number[] = [];
    this.MANY(() => {
      signs.push(this.here());
      this.CONSUME(keyword("-"));
    });
    let value = this.nested(() => this.SUBRULE(this.postfix));
    for (const start of signs.reverse()) value = { kind: "unary", op: "-", value, span: this.spanFrom(start) };
    return value;
  });

  protected readonly bracketItem: ParserMethod<[], BracketItem> = this.RULE("bracketItem", (): BracketItem => {
    const start = this.here();
    return this.OR1<BracketItem>({
      DEF: [
        {
          ALT: () => {
            this.CONSUME(keyword("..."));
            return { kind: "pack", span: this.spanFrom(start) };
          },
        },
        { ALT: () => this.SUBRULE(this.bracketValue, { ARGS: [start] }) },
      ],
      ERR_MSG: "an index or an axis",
    });
  });

  protected readonly bracketValue: ParserMethod<[number], BracketItem> = this.RULE("bracketValue", (start: number): BracketItem => {
    const first = this.SUBRULE(this.expression);
    return this.OR<BracketItem>([
      {
        ALT: () => {
          this.CONSUME(keyword("in"));
          const range = this.SUBRULE1(this.dim);
          return { kind: "in", value: first, range, span: this.spanFrom(start) };
        },
      },
      {
        ALT: () => {
          this.CONSUME(keyword("as"));
          const to = this.SUBRULE2(this.dim);
          return { kind: "rename", from: first, to, span: this.spanFrom(start) };
        },
      },
      {
        ALT: () => {
          const parts = [first];
          this.AT_LEAST_ONE(() => {
            this.CONSUME(keyword("|"));
            parts.push(this.SUBRULE3(this.dim));
          });
          return { kind: "parts", parts, span: this.spanFrom(start) };
        },
      },
      { ALT: (): BracketItem => ({ kind: "at", value: first, span: this.spanFrom(start) }) },
    ]);
  });

  /** `quantize<e4m3 @ (1, 128)>(x)`, `topk<A>[E, 8](a)`. */
  protected readonly genericCall: ParserMethod<[number, Expr], Expr> = this.RULE("genericCall", (start: number, callee: Expr): Expr => {
    this.CONSUME(keyword("<"));
    const typeArgs = this.list(() => this.SUBRULE(this.type));
    this.CONSUME(keyword(">"));
    let items: BracketItem[] | undefined;
    this.OPTION2(() => {
      this.CONSUME(keyword("["));
      items = this.#owing(0, () => this.list(() => this.SUBRULE(this.bracketItem), 2));
      this.CONSUME(keyword("]"));
    });
    const args = this.SUBRULE(this.callArgs);
    const dims = this.ACTION(() => items && this.#callDims(items));
    return { kind: "call", callee, typeArgs, dims, args, span: this.spanFrom(start) };
  });

  // ---------------------------------------------------------------- the smallest parts

  protected readonly primary: ParserMethod<[], Expr> = this.RULE("primary", (): Expr => {
    const span = this.ACTION(() => ({ start: this.here(), end: this.here() + this.LA(1).image.length }));
    return this.OR<Expr>({
      DEF: [
        { ALT: () => this.#nameExpr(this.CONSUME(Name)) },
        { ALT: () => this.#nameExpr(this.CONSUME(Dtype)) },
        { ALT: () => this.#int(this.CONSUME(Int).image, span) },
        {
          ALT: () => {
            const text = this.CONSUME(Float).image;
            return { kind: "float", value: Number(text), text, span };
          },
        },
        { ALT: () => (this.CONSUME(keyword("true")), { kind: "bool", value: true, span }) },
        { ALT: () => (this.CONSUME(keyword("false")), { kind: "bool", value: false, span }) },
        { ALT: () => (this.CONSUME(keyword("inf")), { kind: "inf", span }) },
        { ALT: () => (this.CONSUME(Hole), { kind: "error", span }) },
        { ALT: () => this.SUBRULE(this.parens) },
      ],
      ERR_MSG: "an expression",
    });
  });

  protected readonly parens: ParserMethod<[], Expr> = this.RULE("parens", (): Expr => {
    const start = this.here();
    this.CONSUME(keyword("("));
    const inner = this.OR<Expr>([
      {
        GATE: () => this.nextIsName() && this.nextIs(":", 2),
        ALT: () => {
          const fields = this.#owing(0, () => this.list(() => this.SUBRULE(this.recordField)));
          return { kind: "record", fields, span: this.spanFrom(start) };
        },
      },
      {
        ALT: () => {
          const value = this.#owing(0, () => this.SUBRULE(this.expression));
          return { kind: "paren", value, span: this.spanFrom(start) };
        },
      },
    ]);
    this.CONSUME(keyword(")"));
    return { ...inner, span: this.spanFrom(start) };
  });

  protected readonly recordField: ParserMethod<[], { name: NameNode; value: Expr }> = this.RULE("recordField", () => {
    const name = this.nameOf(this.CONSUME(Name));
    this.CONSUME(keyword(":"));
    const value = this.SUBRULE(this.expression);
    return { name, value };
  });

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

  #nameExpr(token: IToken): Expr {
    const name = this.nameOf(token);
    return { kind: "name", name, span: name.span };
  }

  #int(image: string, span: Span): Expr {
    return { kind: "int", value: this.ACTION(() => BigInt(image)), span };
  }

  // ---------------------------------------------------------------- which meaning

  #infixComes(allowed: Operators): boolean {
    if (this.nextIs("as")) return allowed === "all" && this.nextIs("[", 2);
    return operators[allowed].has(this.next());
  }

  /** A name's `<` opens type arguments before a dtype or type parameter and then `>`, `@` or `,`. */
  #typeArgumentsCome(): boolean {
    if (this.LA(0).tokenType !== Name && !this.nextIsName(0)) return false;
    const isType = this.next(2) === Dtype || this.typeNames.includes(this.LA(2).image);
    return isType && (this.nextIs(">", 3) || this.nextIs("@", 3) || this.nextIs(",", 3));
  }

  #owing<T>(count: number, body: () => T): T {
    const before = this.#owed;
    this.#owed = count;
    try {
      return body();
    } finally {
      this.#owed = before;
    }
  }

  /** After `if c then x[i]`, an `else` is the read's only if enough others follow for the `if`s. */
  #elseIsOurs(): boolean {
    if (this.#owed === 0) return true;
    const depth = depthOf(this.LA(1));
    let elses = 0;
    for (let ahead = 2; ahead < elseReach; ahead += 1) {
      const token = this.LA(ahead);
      if (depthOf(token) < depth || token.tokenType === End) break;
      if (depthOf(token) > depth) continue;
      if (token.tokenType === keyword("else")) elses += 1;
      else if (token.tokenType === keyword("if")) elses -= 1;
      if (elses >= this.#owed) return true;
    }
    return false;
  }

  #callDims(items: readonly BracketItem[]): CallDim[] {
    return asCallDims(items, (span, message, help) => this.fail(span, "WF1008", message, help));
  }

  #indexParts(items: readonly BracketItem[]): IndexPart[] {
    return asIndexParts(items, (span, message, help) => this.fail(span, "WF1008", message, help));
  }

  // ---------------------------------------------------------------- mistakes

  #chained(first: Span, second: Span): void {
    const [a, b] = [first, second].map((span) => this.text.slice(span.start, span.end));
    this.fail(second, "WF1012", `comparisons do not chain: '${a}' has given a bool already`, `write 'x ${a} y and y ${b} z'`);
  }

  #misplacedNot(span: Span): void {
    this.fail(span, "WF1008", "'not' binds less tightly than the operator before it", "put the 'not' and what it denies in parentheses");
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

  #checkSmall(name: NameNode): void {
    if (!/^[A-Z]/.test(name.text)) return;
    this.fail(name.span, "WF1011", `'${name.text}' names a value, so it begins with a small letter`, `call it '${name.text[0]?.toLowerCase()}${name.text.slice(1)}'`);
  }

  #checkCapital(name: NameNode): void {
    if (/^[A-Z]/.test(name.text) || name.text === "") return;
    this.fail(name.span, "WF1011", `'${name.text}' names a dim, a type or a module, so it begins with a capital`, `call it '${name.text[0]?.toUpperCase()}${name.text.slice(1)}'`);
  }
}
