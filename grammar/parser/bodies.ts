/** Functions: parameters, facts, and bodies of statements. */

import type { ParserMethod, TokenType } from "../chevrotain.ts";
import type { Block, Expr, FnDecl, Name as NameNode, Param, Statement, TypeExpr } from "../ast.ts";
import { keyword, End, Name } from "../tokens.ts";
import { comma, statementEnd } from "./base.ts";
import { TypeParser } from "./types.ts";

const itemEnd: ReadonlySet<TokenType> = new Set([comma, End]);
const headEnd: ReadonlySet<TokenType> = new Set([keyword("{"), End, keyword("where")]);
const whereEnd: ReadonlySet<TokenType> = new Set([keyword("{"), End]);

/** What a function has between its name and its body. */
export type Signature = Pick<FnDecl, "typeParams" | "dimParams" | "params" | "result" | "where">;

export abstract class BodyParser extends TypeParser {
  protected readonly signature: ParserMethod<[], Signature> = this.RULE("signature", () => {
    const typeParams = this.SUBRULE(this.typeParams);
    let dimParams: NameNode[] = [];
    this.OPTION1(() => {
      this.CONSUME(keyword("["));
      dimParams = this.list(() => this.SUBRULE(this.typeName));
      this.CONSUME(keyword("]"));
    });
    const params = this.SUBRULE(this.params);
    let result: TypeExpr | undefined;
    this.OPTION2(() => {
      this.CONSUME(keyword("->"));
      result = this.guard(
        headEnd,
        () => this.SUBRULE(this.type),
        () => this.errorType(),
      );
    });
    const where = this.SUBRULE(this.facts);
    return { typeParams, dimParams, params, result, where };
  });

  /** `where P % 2 == 0, M >= P`, or nothing. */
  protected readonly facts: ParserMethod<[], Expr[]> = this.RULE("facts", () => {
    let facts: Expr[] = [];
    this.OPTION(() => {
      this.CONSUME(keyword("where"));
      facts = this.guard(
        whereEnd,
        () => this.list(() => this.SUBRULE(this.expression)),
        () => [],
      );
    });
    return facts;
  });

  protected readonly params: ParserMethod<[], Param[]> = this.RULE("params", () => {
    this.CONSUME(keyword("("));
    const params: Param[] = [];
    this.repeat(
      () => this.atClose(),
      () => {
        const param = this.guard<Param | undefined>(
          itemEnd,
          () => this.SUBRULE(this.param),
          () => undefined,
        );
        if (param !== undefined) params.push(param);
        this.#itemEnd();
      },
    );
    this.CONSUME(keyword(")"));
    return params;
  });

  /** A comma, or the end of the brackets. */
  #itemEnd(): void {
    if (this.RECORDING_PHASE || this.atClose()) return;
    this.guard<unknown>(
      itemEnd,
      () => this.consume(0, comma),
      () => {
        if (this.next() === comma) this.SKIP_TOKEN();
      },
    );
  }

  protected readonly param: ParserMethod<[], Param> = this.RULE("param", (): Param => {
    const start = this.here();
    let mut = false;
    this.OPTION1(() => {
      this.CONSUME(keyword("mut"));
      mut = true;
    });
    const name = this.SUBRULE(this.valueName);
    const type = this.SUBRULE(this.typeOf);
    let value: Expr | undefined;
    this.OPTION2(() => {
      this.CONSUME(keyword("="));
      value = this.SUBRULE(this.expression);
    });
    return { mut, name, type, default: value, span: this.spanFrom(start) };
  });

  /** `: f32[N]`; a type that cannot be read leaves its name known. */
  protected readonly typeOf: ParserMethod<[], TypeExpr> = this.RULE("typeOf", () =>
    this.guard(
      itemEnd,
      () => {
        this.CONSUME(keyword(":"));
        return this.SUBRULE(this.type);
      },
      () => this.errorType(),
    ),
  );

  // ---------------------------------------------------------------- statements

  protected readonly block: ParserMethod<[], Block> = this.RULE("block", (): Block => {
    const start = this.here();
    this.CONSUME(keyword("{"));
    this.skipEnds();
    const statements: Statement[] = [];
    this.repeat(
      () => this.atClose(),
      () => {
        const statement = this.guard<Statement | undefined>(
          statementEnd,
          () => this.SUBRULE(this.statement),
          () => undefined,
        );
        if (statement !== undefined) statements.push(statement);
        this.endStatement();
      },
    );
    this.CONSUME(keyword("}"));
    const last = statements.at(-1);
    for (const statement of statements.slice(0, -1)) this.#checkEffect(statement);
    if (last?.kind !== "do")
      return { kind: "block", statements, result: undefined, span: this.spanFrom(start) };
    return {
      kind: "block",
      statements: statements.slice(0, -1),
      result: last.value,
      span: this.spanFrom(start),
    };
  });

  #checkEffect(statement: Statement): void {
    if (statement.kind !== "do" || statement.value.kind === "call" || statement.value.kind === "error")
      return;
    this.fail(
      statement.span,
      "WF1013",
      "nothing uses the value of this line",
      statement.value.kind === "unary" && statement.value.op === "-"
        ? "if it goes on from the line before, put the '-' at the end of that line"
        : "name it with 'let'; only the last expression of a body is its result",
    );
  }

  protected readonly statement: ParserMethod<[], Statement> = this.RULE("statement", () =>
    this.OR<Statement>({
      DEF: [
        { ALT: () => this.SUBRULE(this.letStatement) },
        {
          ALT: () => {
            const start = this.here();
            const value = this.guard(
              statementEnd,
              () => this.SUBRULE(this.expression),
              () => this.errorExpr(),
            );
            return { kind: "do", value, span: this.spanFrom(start) };
          },
        },
      ],
      ERR_MSG: "'let' or an expression",
    }),
  );

  /** `let k: bf16[B, T] = e`, `let (c, r) = e`. */
  protected readonly letStatement: ParserMethod<[], Statement> = this.RULE("letStatement", (): Statement => {
    const start = this.here();
    this.CONSUME(keyword("let"));
    let destructure = false;
    const pattern = this.OR<NameNode[]>({
      DEF: [
        {
          ALT: () => {
            destructure = true;
            this.CONSUME(keyword("("));
            const names = this.list(() => this.SUBRULE1(this.valueName));
            this.CONSUME(keyword(")"));
            return names;
          },
        },
        { ALT: () => [this.SUBRULE2(this.valueName)] },
      ],
      ERR_MSG: "a name",
    });
    let type: TypeExpr | undefined;
    const value = this.guard(
      statementEnd,
      () => {
        this.OPTION2(() => {
          this.CONSUME(keyword(":"));
          type = this.SUBRULE(this.type);
        });
        this.CONSUME(keyword("="));
        return this.SUBRULE(this.expression);
      },
      () => this.errorExpr(),
    );
    return { kind: "let", pattern, destructure, type, value, span: this.spanFrom(start) };
  });

  /** Reads the ends between two statements; anything else there is a mistake, reported and passed over. */
  protected endStatement(): void {
    if (this.RECORDING_PHASE) return;
    if (this.next() !== End && !this.atClose()) {
      this.guard<unknown>(
        statementEnd,
        () => this.consume(0, End),
        () => undefined,
      );
    }
    this.skipEnds();
  }

  /** Words with dots between: `Mla.decode`, `std.nn`. */
  protected readonly path: ParserMethod<[], NameNode[]> = this.RULE("path", () => {
    const names: NameNode[] = [];
    names.push(this.nameOf(this.CONSUME1(Name)));
    this.MANY(() => {
      this.CONSUME(keyword("."));
      names.push(this.nameOf(this.CONSUME2(Name)));
    });
    return names;
  });

  /** `{ a, b }`. */
  protected readonly braces: ParserMethod<[], NameNode[]> = this.RULE("braces", () => {
    this.CONSUME(keyword("{"));
    const names = this.list(() => this.nameOf(this.CONSUME(Name)));
    this.MANY2(() => this.CONSUME(End));
    this.CONSUME(keyword("}"));
    return names;
  });
}
