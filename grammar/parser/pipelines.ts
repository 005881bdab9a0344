/** Pipelines, and the parser whole. */
/* oxlint-disable unicorn/no-thenable -- `then` is the branch of an `if`; no tree is awaited. */

import type { IToken, ParserMethod } from "../chevrotain.ts";
import type { Expr, Name as NameNode, PipelineAction, PipelineDecl, PipelineItem } from "../ast.ts";
import type { SyntaxError } from "../errors.ts";
import { End, keyword, Name } from "../tokens.ts";
import { statementEnd } from "./base.ts";
import { DeclarationParser } from "./declarations.ts";

export class Parser extends DeclarationParser {
  #docs: (start: number) => string | undefined = () => undefined;

  /** `validate` has Chevrotain check the grammar, which a test does once for all. */
  constructor(validate: "validate" | "trust" = "trust") {
    super(validate);
    this.performSelfAnalysis();
  }

  /** Readies the parser for one file. `docs` gives the doc comment of what starts at an offset. */
  begin(text: string, tokens: IToken[], docs: (start: number) => string | undefined): SyntaxError[] {
    this.input = tokens;
    this.text = text;
    this.found = [];
    this.#docs = docs;
    return this.found;
  }

  protected override docAt(start: number): string | undefined {
    return this.RECORDING_PHASE ? undefined : this.#docs(start);
  }

  protected override readonly pipeline: ParserMethod<[], PipelineDecl> = this.RULE(
    "pipeline",
    (): PipelineDecl => {
      const start = this.here();
      const doc = this.docAt(start);
      this.CONSUME(keyword("pipeline"));
      const name = this.nameOf(this.CONSUME(Name));
      let params: NameNode[] = [];
      this.OPTION2(() => {
        this.CONSUME(keyword("["));
        params = this.list(() => this.SUBRULE(this.typeName));
        this.CONSUME(keyword("]"));
      });
      const where = this.SUBRULE(this.facts);
      const items: PipelineItem[] = [];
      this.CONSUME(keyword("{"));
      this.skipEnds();
      this.repeat(
        () => this.atClose(),
        () => {
          const item = this.guard<PipelineItem | undefined>(
            statementEnd,
            () => this.SUBRULE(this.pipelineItem),
            () => undefined,
          );
          if (item !== undefined) items.push(item);
          this.endStatement();
        },
      );
      this.CONSUME(keyword("}"));
      return { kind: "pipeline", doc, name, params, where, items, span: this.spanFrom(start) };
    },
  );

  protected readonly pipelineItem: ParserMethod<[], PipelineItem> = this.RULE("pipelineItem", () =>
    this.OR<PipelineItem>({
      DEF: [
        { ALT: () => this.SUBRULE(this.rank) },
        { ALT: () => this.SUBRULE(this.direction) },
        { ALT: () => this.SUBRULE(this.pipelineLet) },
        { ALT: () => this.SUBRULE(this.phase) },
      ],
      ERR_MSG: "'rank', 'direction', 'let' or 'phase'",
    }),
  );

  protected readonly rank: ParserMethod<[], PipelineItem> = this.RULE("rank", (): PipelineItem => {
    const start = this.here();
    this.CONSUME(keyword("rank"));
    const variable = this.SUBRULE(this.valueName);
    this.CONSUME(keyword("in"));
    const count = this.SUBRULE(this.dim);
    return { kind: "rank", variable, count, span: this.spanFrom(start) };
  });

  /** `direction down: stage r, r + P`. */
  protected readonly direction: ParserMethod<[], PipelineItem> = this.RULE("direction", (): PipelineItem => {
    const start = this.here();
    this.CONSUME(keyword("direction"));
    const name = this.SUBRULE(this.valueName);
    this.CONSUME(keyword(":"));
    this.CONSUME(keyword("stage"));
    const stages = this.list(() => this.SUBRULE(this.expression));
    return { kind: "direction", name, stages, span: this.spanFrom(start) };
  });

  protected readonly pipelineLet: ParserMethod<[], PipelineItem> = this.RULE(
    "pipelineLet",
    (): PipelineItem => {
      const start = this.here();
      this.CONSUME(keyword("let"));
      const name = this.SUBRULE(this.valueName);
      const value = this.guard(
        statementEnd,
        () => {
          this.CONSUME(keyword("="));
          return this.SUBRULE(this.expression);
        },
        () => this.errorExpr(),
      );
      return { kind: "let", name, value, span: this.spanFrom(start) };
    },
  );

  protected readonly phase: ParserMethod<[], PipelineItem> = this.RULE("phase", (): PipelineItem => {
    const start = this.here();
    this.CONSUME(keyword("phase"));
    const name = this.SUBRULE1(this.valueName);
    let variable: NameNode | undefined;
    let count: Expr | undefined;
    this.OPTION(() => {
      this.CONSUME(keyword("for"));
      variable = this.SUBRULE2(this.valueName);
      this.CONSUME(keyword("in"));
      count = this.SUBRULE(this.dim);
    });
    const body = this.SUBRULE(this.actionBlock);
    return { kind: "phase", name, variable, count, body, span: this.spanFrom(start) };
  });

  /** `{ F(near), W }`: a line end parts actions as a comma does. */
  protected readonly actionBlock: ParserMethod<[], PipelineAction[]> = this.RULE("actionBlock", () => {
    this.CONSUME(keyword("{"));
    const actions: PipelineAction[] = [];
    this.MANY1(() => this.CONSUME1(End));
    let more = true;
    this.MANY2({
      GATE: () => more,
      DEF: () => {
        actions.push(this.SUBRULE(this.action));
        more = false;
        this.OPTION(() => {
          this.CONSUME(keyword(","));
          more = true;
        });
        this.MANY3(() => {
          this.CONSUME2(End);
          more = true;
        });
      },
    });
    this.CONSUME(keyword("}"));
    return actions;
  });

  protected readonly action: ParserMethod<[], PipelineAction> = this.RULE("action", () =>
    this.OR<PipelineAction>({
      DEF: [
        { GATE: () => this.nextIs("(", 2), ALT: () => this.SUBRULE(this.overlap) },
        { ALT: () => this.SUBRULE(this.actionChoice) },
        { ALT: () => this.SUBRULE(this.plainAction) },
      ],
      ERR_MSG: "an action, such as 'F(down)'",
    }),
  );

  protected readonly overlap: ParserMethod<[], PipelineAction> = this.RULE("overlap", (): PipelineAction => {
    const start = this.here();
    this.CONSUME(keyword("overlap"));
    this.CONSUME(keyword("("));
    const actions = this.list(() => this.SUBRULE(this.action));
    this.CONSUME(keyword(")"));
    return { kind: "overlap", actions, span: this.spanFrom(start) };
  });

  protected readonly actionChoice: ParserMethod<[], PipelineAction> = this.RULE(
    "actionChoice",
    (): PipelineAction => {
      const start = this.here();
      this.CONSUME(keyword("if"));
      const condition = this.SUBRULE(this.expression);
      this.CONSUME(keyword("then"));
      const then = this.SUBRULE1(this.branch);
      let otherwise: PipelineAction[] = [];
      this.OPTION(() => {
        this.CONSUME(keyword("else"));
        otherwise = this.SUBRULE2(this.branch);
      });
      return { kind: "if", condition, then, else: otherwise, span: this.spanFrom(start) };
    },
  );

  protected readonly branch: ParserMethod<[], PipelineAction[]> = this.RULE("branch", () =>
    this.OR<PipelineAction[]>({
      DEF: [{ ALT: () => this.SUBRULE(this.actionBlock) }, { ALT: () => [this.SUBRULE(this.action)] }],
      ERR_MSG: "an action, such as 'F(down)', or several in braces",
    }),
  );

  protected readonly plainAction: ParserMethod<[], PipelineAction> = this.RULE(
    "plainAction",
    (): PipelineAction => {
      const start = this.here();
      const name = this.nameOf(this.CONSUME(Name));
      let direction: Expr | undefined;
      let slot: Expr | undefined;
      this.OPTION1(() => {
        this.CONSUME(keyword("("));
        direction = this.SUBRULE1(this.expression);
        this.OPTION2(() => {
          this.CONSUME(keyword(","));
          slot = this.SUBRULE2(this.expression);
        });
        this.CONSUME(keyword(")"));
      });
      return { kind: "action", name, direction, slot, span: this.spanFrom(start) };
    },
  );
}
