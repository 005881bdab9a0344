/** Numerics and schedules: what may change the result within a bound, and what never does. */

import type { ParserMethod, TokenType } from "../chevrotain.ts";
import type {
  Expr,
  Name as NameNode,
  NumericsClause,
  NumericsDecl,
  ScheduleClause,
  ScheduleDecl,
  ScheduleItem,
  SchedulePart,
  TypeExpr,
} from "../ast.ts";
import { Dtype, Float, Int, keyword, Name } from "../tokens.ts";
import { statementEnd } from "./base.ts";
import { BodyParser } from "./bodies.ts";

export abstract class TuningParser extends BodyParser {
  protected abstract docAt(start: number): string | undefined;

  protected readonly numerics: ParserMethod<[], NumericsDecl> = this.RULE("numerics", (): NumericsDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("numerics"));
    const target = this.SUBRULE(this.path);
    const clauses: NumericsClause[] = [];
    this.CONSUME(keyword("{"));
    this.skipEnds();
    this.repeat(
      () => this.atClose(),
      () => {
        const clause = this.guard<NumericsClause | undefined>(
          statementEnd,
          () => this.SUBRULE(this.numericsClause),
          () => undefined,
        );
        if (clause !== undefined) clauses.push(clause);
        this.endStatement();
      },
    );
    this.CONSUME(keyword("}"));
    return { kind: "numerics", doc, target, clauses, span: this.spanFrom(start) };
  });

  protected readonly numericsClause: ParserMethod<[], NumericsClause> = this.RULE("numericsClause", () =>
    this.OR<NumericsClause>({
      DEF: [
        { ALT: () => this.SUBRULE(this.contractClause) },
        { ALT: () => this.SUBRULE(this.accumulateClause) },
        { ALT: () => this.SUBRULE(this.boundClause) },
      ],
      ERR_MSG: "'contract', 'accumulate' or 'bound'",
    }),
  );

  /** `contract: e4m3 @ (1, 128), (128, 128)`: a block alone has the dtype of the type before it. */
  protected readonly contractClause: ParserMethod<[], NumericsClause> = this.RULE(
    "contractClause",
    (): NumericsClause => {
      const start = this.here();
      this.CONSUME(keyword("contract"));
      this.CONSUME(keyword(":"));
      const types: TypeExpr[] = [];
      types.push(this.SUBRULE(this.namedType));
      this.MANY(() => {
        this.CONSUME(keyword(","));
        types.push(
          this.OR<TypeExpr>({
            DEF: [{ ALT: () => this.#blockAlone(types[0]) }, { ALT: () => this.SUBRULE2(this.namedType) }],
            ERR_MSG: "a type, or the block of one",
          }),
        );
      });
      return { kind: "contract", types, span: this.spanFrom(start) };
    },
  );

  #blockAlone(before: TypeExpr | undefined): TypeExpr {
    const start = this.here();
    const scale = this.SUBRULE(this.blockScale, { ARGS: [start] });
    const text = before?.kind === "type" ? before.name.text : "";
    return {
      kind: "type",
      name: { text, span: { start, end: start } },
      args: [],
      axes: undefined,
      scale,
      span: this.spanFrom(start),
    };
  }

  /** `accumulate: f32 every 128`. */
  protected readonly accumulateClause: ParserMethod<[], NumericsClause> = this.RULE(
    "accumulateClause",
    (): NumericsClause => {
      const start = this.here();
      this.CONSUME(keyword("accumulate"));
      this.CONSUME(keyword(":"));
      const type = this.SUBRULE(this.namedType);
      let every: Expr | undefined;
      this.OPTION(() => {
        this.CONSUME(keyword("every"));
        every = this.SUBRULE(this.dim);
      });
      return { kind: "accumulate", type, every, span: this.spanFrom(start) };
    },
  );

  /** `bound: rel 2^-5`. */
  protected readonly boundClause: ParserMethod<[], NumericsClause> = this.RULE(
    "boundClause",
    (): NumericsClause => {
      const start = this.here();
      this.CONSUME(keyword("bound"));
      this.CONSUME(keyword(":"));
      const measure = this.nameOf(this.CONSUME(Name));
      const value = this.SUBRULE(this.bound);
      return { kind: "bound", measure, value, span: this.spanFrom(start) };
    },
  );

  // ---------------------------------------------------------------- schedules

  protected readonly schedule: ParserMethod<[], ScheduleDecl> = this.RULE("schedule", (): ScheduleDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("schedule"));
    const target = this.SUBRULE(this.path);
    this.CONSUME(keyword("on"));
    const on = this.nameOf(this.CONSUME(Name));
    const clauses: ScheduleClause[] = [];
    this.CONSUME(keyword("{"));
    this.skipEnds();
    this.repeat(
      () => this.atClose(),
      () => {
        const clause = this.guard<ScheduleClause | undefined>(
          statementEnd,
          () => this.SUBRULE(this.scheduleClause),
          () => undefined,
        );
        if (clause !== undefined) clauses.push(clause);
        this.endStatement();
      },
    );
    this.CONSUME(keyword("}"));
    return { kind: "schedule", doc, target, on, clauses, span: this.spanFrom(start) };
  });

  /** `tile (S H) 64, T 64`, `persistent`. */
  protected readonly scheduleClause: ParserMethod<[], ScheduleClause> = this.RULE(
    "scheduleClause",
    (): ScheduleClause => {
      const start = this.here();
      const word: NameNode = this.nameOf(this.CONSUME(Name));
      const items = this.list(() => this.SUBRULE(this.scheduleItem));
      return { keyword: word, items, span: this.spanFrom(start) };
    },
  );

  protected readonly scheduleItem: ParserMethod<[], ScheduleItem> = this.RULE(
    "scheduleItem",
    (): ScheduleItem => {
      const start = this.here();
      const parts: SchedulePart[] = [];
      this.AT_LEAST_ONE(() => parts.push(this.SUBRULE(this.schedulePart)));
      return { parts, span: this.spanFrom(start) };
    },
  );

  protected readonly schedulePart: ParserMethod<[], SchedulePart> = this.RULE(
    "schedulePart",
    (): SchedulePart => {
      const start = this.here();
      const word = (type: TokenType) => (): SchedulePart => {
        const text = this.CONSUME(type).image;
        return { kind: "word", text, span: this.spanFrom(start) };
      };
      const number = (type: TokenType) => (): SchedulePart => {
        const value = Number(this.CONSUME(type).image);
        return { kind: "number", value, span: this.spanFrom(start) };
      };
      return this.OR<SchedulePart>({
        DEF: [
          { ALT: word(Name) },
          { ALT: word(Dtype) },
          { ALT: number(Int) },
          { ALT: number(Float) },
          {
            ALT: () => {
              const axes: NameNode[] = [];
              this.CONSUME(keyword("("));
              this.AT_LEAST_ONE(() => axes.push(this.nameOf(this.CONSUME2(Name))));
              this.CONSUME(keyword(")"));
              return { kind: "group", axes, span: this.spanFrom(start) };
            },
          },
        ],
        ERR_MSG: "an axis, a number or a word",
      });
    },
  );
}
