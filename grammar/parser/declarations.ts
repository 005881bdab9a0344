/** Declarations but pipelines, and the file. */

import { EOF, type ParserMethod } from "../chevrotain.ts";
import type {
  ConstDecl,
  Declaration,
  DeriveDecl,
  DeriveStep,
  DimBinding,
  DimDecl,
  DimExpr,
  FnDecl,
  ImportDecl,
  KernelDecl,
  Member,
  MeshDecl,
  ModuleDecl,
  Name as NameNode,
  PipelineDecl,
  StateMember,
  ParamMember,
} from "../ast.ts";
import { keyword, Name, Text } from "../tokens.ts";
import { statementEnd } from "./base.ts";
import { TuningParser } from "./tuning.ts";

export abstract class DeclarationParser extends TuningParser {
  protected abstract readonly pipeline: ParserMethod<[], PipelineDecl>;

  readonly declarations: ParserMethod<[], Declaration[]> = this.RULE("declarations", () => {
    const found: Declaration[] = [];
    this.repeat(
      () => this.atEnd(),
      () => {
        if (this.atStray()) return;
        this.typeNames = [];
        const declaration = this.guard<Declaration | undefined>(
          statementEnd,
          () => this.SUBRULE(this.declaration),
          () => undefined,
        );
        if (declaration !== undefined) found.push(declaration);
        this.endStatement();
      },
    );
    this.CONSUME(EOF);
    return found;
  });

  /** Ends that no statement stands before, and closing brackets that recovery has come to. */
  protected atStray(): boolean {
    if (this.RECORDING_PHASE || (!this.nextIs(";") && !this.atClose())) return false;
    this.SKIP_TOKEN();
    return true;
  }

  protected readonly declaration: ParserMethod<[], Declaration> = this.RULE("declaration", () =>
    this.OR<Declaration>({
      DEF: [
        { ALT: () => this.SUBRULE(this.import) },
        { ALT: () => this.SUBRULE(this.dims) },
        { ALT: () => this.SUBRULE(this.mesh) },
        { ALT: () => this.SUBRULE(this.constant) },
        { ALT: () => this.SUBRULE(this.fn) },
        { ALT: () => this.SUBRULE(this.module) },
        { ALT: () => this.SUBRULE(this.derive) },
        { ALT: () => this.SUBRULE(this.numerics) },
        { ALT: () => this.SUBRULE(this.schedule) },
        { ALT: () => this.SUBRULE(this.pipeline) },
        { ALT: () => this.SUBRULE(this.kernel) },
      ],
      ERR_MSG: "a declaration",
    }),
  );

  protected readonly import: ParserMethod<[], ImportDecl> = this.RULE("import", (): ImportDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("import"));
    let module: NameNode[] | undefined;
    let path: NameNode | undefined;
    this.OR({
      DEF: [
        {
          ALT: () => {
            module = this.SUBRULE(this.path);
          },
        },
        {
          ALT: () => {
            const { text, span } = this.nameOf(this.CONSUME(Text));
            path = { text: text.replaceAll('"', ""), span };
          },
        },
      ],
      ERR_MSG: "a library module, such as 'std.nn', or a path in quotes",
    });
    const names = this.SUBRULE(this.braces);
    return { kind: "import", doc, module, path, names, span: this.spanFrom(start) };
  });

  protected readonly dims: ParserMethod<[], DimDecl> = this.RULE("dims", (): DimDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("dim"));
    const dims = this.list(() => this.SUBRULE(this.dimBinding));
    if (!this.RECORDING_PHASE && dims.length === 0) this.consume(9, Name);
    const where = this.SUBRULE(this.facts);
    return { kind: "dim", doc, dims, where, span: this.spanFrom(start) };
  });

  protected readonly dimBinding: ParserMethod<[], DimBinding> = this.RULE("dimBinding", () => {
    const name = this.SUBRULE(this.typeName);
    let raggedBy: NameNode | undefined;
    this.OPTION1(() => {
      this.CONSUME(keyword("["));
      raggedBy = this.nameOf(this.CONSUME(Name));
      this.CONSUME(keyword("]"));
    });
    let value: DimExpr | undefined;
    this.OPTION2(() => {
      this.CONSUME(keyword("="));
      value = this.SUBRULE(this.dim);
    });
    return { name, raggedBy, value };
  });

  protected readonly mesh: ParserMethod<[], MeshDecl> = this.RULE("mesh", (): MeshDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("mesh"));
    const names = this.list(() => this.nameOf(this.CONSUME(Name)));
    if (!this.RECORDING_PHASE && names.length === 0) this.consume(9, Name);
    return { kind: "mesh", doc, names, span: this.spanFrom(start) };
  });

  protected readonly constant: ParserMethod<[], ConstDecl> = this.RULE("constant", (): ConstDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("const"));
    const name = this.SUBRULE(this.valueName);
    const value = this.guard(
      statementEnd,
      () => {
        this.CONSUME(keyword("="));
        return this.SUBRULE(this.expression);
      },
      () => this.errorExpr(),
    );
    return { kind: "const", doc, name, value, span: this.spanFrom(start) };
  });

  protected readonly fn: ParserMethod<[], FnDecl> = this.RULE("fn", (): FnDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("fn"));
    const name = this.SUBRULE(this.valueName);
    const outer = [...this.typeNames];
    const signature = this.SUBRULE(this.signature);
    let body: FnDecl["body"];
    this.OPTION(() => {
      body = this.SUBRULE(this.block);
    });
    this.typeNames = outer;
    return { kind: "fn", doc, name, ...signature, body, span: this.spanFrom(start) };
  });

  protected readonly kernel: ParserMethod<[], KernelDecl> = this.RULE("kernel", (): KernelDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("kernel"));
    const name = this.SUBRULE(this.valueName);
    const { typeParams, params, result } = this.SUBRULE(this.signature);
    let target: NameNode | undefined;
    this.OPTION(() => {
      this.CONSUME(keyword("implements"));
      target = this.nameOf(this.CONSUME(Name));
    });
    const body = this.SUBRULE(this.block);
    return {
      kind: "kernel",
      doc,
      name,
      typeParams,
      params,
      result,
      implements: target,
      body,
      span: this.spanFrom(start),
    };
  });

  // ---------------------------------------------------------------- modules

  protected readonly module: ParserMethod<[], ModuleDecl> = this.RULE("module", (): ModuleDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("module"));
    const name = this.SUBRULE(this.typeName);
    const typeParams = this.SUBRULE(this.typeParams);
    const members: Member[] = [];
    this.CONSUME(keyword("{"));
    this.skipEnds();
    this.repeat(
      () => this.atClose(),
      () => {
        const member = this.guard<Member | undefined>(
          statementEnd,
          () => this.SUBRULE(this.member),
          () => undefined,
        );
        if (member !== undefined) members.push(member);
        this.endStatement();
      },
    );
    this.CONSUME(keyword("}"));
    return { kind: "module", doc, name, typeParams, members, span: this.spanFrom(start) };
  });

  protected readonly member: ParserMethod<[], Member> = this.RULE("member", () =>
    this.OR<Member>({
      DEF: [
        { ALT: () => this.SUBRULE(this.paramMember) },
        { ALT: () => this.SUBRULE(this.stateMember) },
        { ALT: () => this.SUBRULE(this.constant) },
        { ALT: () => this.SUBRULE(this.fn) },
        { ALT: () => this.SUBRULE(this.derive) },
      ],
      ERR_MSG: "'param', 'state', 'const', 'fn' or 'derive'",
    }),
  );

  protected readonly paramMember: ParserMethod<[], ParamMember> = this.RULE(
    "paramMember",
    (): ParamMember => {
      const start = this.here();
      const doc = this.docAt(start);
      this.CONSUME(keyword("param"));
      const name = this.SUBRULE(this.valueName);
      const type = this.SUBRULE(this.typeOf);
      return { kind: "param", doc, name, type, span: this.spanFrom(start) };
    },
  );

  protected readonly stateMember: ParserMethod<[], StateMember> = this.RULE(
    "stateMember",
    (): StateMember => {
      const start = this.here();
      const doc = this.docAt(start);
      this.CONSUME(keyword("state"));
      const name = this.SUBRULE(this.valueName);
      const type = this.SUBRULE(this.typeOf);
      return { kind: "state", doc, name, type, span: this.spanFrom(start) };
    },
  );

  protected readonly derive: ParserMethod<[], DeriveDecl> = this.RULE("derive", (): DeriveDecl => {
    const start = this.here();
    const doc = this.docAt(start);
    this.CONSUME(keyword("derive"));
    const name = this.SUBRULE(this.valueName);
    this.CONSUME(keyword("from"));
    const from = this.nameOf(this.CONSUME1(Name));
    this.CONSUME(keyword("by"));
    const rule = this.nameOf(this.CONSUME2(Name));
    this.CONSUME(keyword("{"));
    const steps = this.list(() => this.SUBRULE(this.deriveStep));
    this.MANY2(() => this.CONSUME(keyword(";")));
    this.CONSUME(keyword("}"));
    return { kind: "derive", doc, name, from, rule, steps, span: this.spanFrom(start) };
  });

  protected readonly deriveStep: ParserMethod<[], DeriveStep> = this.RULE("deriveStep", (): DeriveStep => {
    const start = this.here();
    const factor = this.nameOf(this.CONSUME1(Name));
    const where = this.OR<DeriveStep["where"]>({
      DEF: [
        { ALT: () => (this.CONSUME(keyword("into")), "into") },
        { ALT: () => (this.CONSUME(keyword("after")), "after") },
      ],
      ERR_MSG: "'into' or 'after'",
    });
    const target = this.nameOf(this.CONSUME2(Name));
    return { factor, where, target, span: this.spanFrom(start) };
  });
}
