/** Types. */

import type { ParserMethod } from "../chevrotain.ts";
import type {
  AxisExpr,
  BlockScale,
  Expr,
  Name as NameNode,
  NamedType,
  TupleType,
  TypeExpr,
  TypeParam,
} from "../ast.ts";
import { Dtype, Int, keyword, Name } from "../tokens.ts";
import { ExpressionParser } from "./expressions.ts";

export abstract class TypeParser extends ExpressionParser {
  protected override readonly type: ParserMethod<[], TypeExpr> = this.RULE("type", () => {
    this.enter();
    const type = this.OR<TypeExpr>({
      DEF: [{ ALT: () => this.SUBRULE(this.namedType) }, { ALT: () => this.SUBRULE(this.tupleType) }],
      ERR_MSG: "a type",
    });
    this.leave();
    return type;
  });

  /** `bf16[B, S] @ (1, 128)`, `Paged<bf16, 64>[B, T, C]`. */
  protected readonly namedType: ParserMethod<[], NamedType> = this.RULE("namedType", (): NamedType => {
    const start = this.here();
    const name = this.nameOf(
      this.OR({
        DEF: [{ ALT: () => this.CONSUME(Name) }, { ALT: () => this.CONSUME(Dtype) }],
        ERR_MSG: "a type",
      }),
    );
    let args: (TypeExpr | Expr)[] = [];
    this.OPTION1(() => {
      this.CONSUME(keyword("<"));
      args = this.list(() => this.SUBRULE(this.typeArg));
      this.CONSUME(keyword(">"));
    });
    let axes: AxisExpr[] | undefined;
    this.OPTION3(() => {
      this.CONSUME(keyword("["));
      axes = this.SUBRULE(this.axisList);
      this.CONSUME(keyword("]"));
    });
    let scale: BlockScale | undefined;
    this.OPTION4(() => {
      const at = this.here();
      this.CONSUME(keyword("@"));
      scale = this.SUBRULE(this.blockScale, { ARGS: [at] });
    });
    return { kind: "type", name, args, axes, scale, span: this.spanFrom(start) };
  });

  /** A type, or a size where it is not a name alone. */
  protected readonly typeArg: ParserMethod<[], TypeExpr | Expr> = this.RULE("typeArg", () =>
    this.OR<TypeExpr | Expr>({
      DEF: [
        { GATE: () => this.#typeArgIsType(), ALT: () => this.SUBRULE(this.type) },
        { ALT: () => this.SUBRULE(this.dim) },
      ],
      ERR_MSG: "a type or a size",
    }),
  );

  #typeArgIsType(): boolean {
    if (this.next() === Dtype) return true;
    if (!this.nextIsName()) return this.nextIsName(2) && this.nextIs(":", 3);
    return !"+-*/%".split("").some((mark) => this.nextIs(mark, 2));
  }

  /** `(128, 128) ue8m0`, after its `@`. */
  protected readonly blockScale: ParserMethod<[number], BlockScale> = this.RULE(
    "blockScale",
    (start: number): BlockScale => {
      this.CONSUME(keyword("("));
      const block = this.list(() => Number(this.CONSUME(Int).image));
      this.CONSUME(keyword(")"));
      let format: NameNode | undefined;
      this.OPTION2({
        GATE: () => this.LA(1).image === "ue8m0" || this.LA(1).image === "f32",
        DEF: () => {
          format = this.nameOf(
            this.OR([{ ALT: () => this.CONSUME(Name) }, { ALT: () => this.CONSUME(Dtype) }]),
          );
        },
      });
      return { block, format, span: this.spanFrom(start) };
    },
  );

  /** `(c: bf16[B, S, C], r: bf16[B, S, Dr])`. */
  protected readonly tupleType: ParserMethod<[], TupleType> = this.RULE("tupleType", (): TupleType => {
    const start = this.here();
    this.CONSUME(keyword("("));
    const fields = this.list(() => this.SUBRULE(this.tupleField));
    this.CONSUME(keyword(")"));
    return { kind: "tuple-type", fields, span: this.spanFrom(start) };
  });

  protected readonly tupleField: ParserMethod<[], { name: NameNode; type: TypeExpr }> = this.RULE(
    "tupleField",
    () => {
      const name = this.nameOf(this.CONSUME(Name));
      this.CONSUME(keyword(":"));
      const type = this.SUBRULE(this.type);
      return { name, type };
    },
  );

  protected override readonly axisList: ParserMethod<[], AxisExpr[]> = this.RULE("axisList", () =>
    this.list(() => this.SUBRULE(this.axis)),
  );

  protected readonly axis: ParserMethod<[], AxisExpr> = this.RULE("axis", (): AxisExpr => {
    const start = this.here();
    return this.OR<AxisExpr>({
      DEF: [
        {
          ALT: () => {
            this.CONSUME(keyword("..."));
            return { kind: "pack", span: this.spanFrom(start) };
          },
        },
        {
          ALT: () => {
            const dim = this.SUBRULE(this.dim);
            let mesh: NameNode | undefined;
            this.OPTION(() => {
              this.CONSUME(keyword("@"));
              mesh = this.nameOf(this.CONSUME(Name));
            });
            return { kind: "axis", dim, mesh, span: this.spanFrom(start) };
          },
        },
      ],
      ERR_MSG: "an axis",
    });
  });

  /** `<A: float, W: weight>`, or nothing. */
  protected readonly typeParams: ParserMethod<[], TypeParam[]> = this.RULE("typeParams", () => {
    let params: TypeParam[] = [];
    this.OPTION(() => {
      this.CONSUME(keyword("<"));
      params = this.list(() => this.SUBRULE(this.typeParam));
      this.CONSUME(keyword(">"));
    });
    this.ACTION(() => this.typeNames.push(...params.map((param) => param.name.text)));
    return params;
  });

  protected readonly typeParam: ParserMethod<[], TypeParam> = this.RULE("typeParam", () => {
    const name = this.SUBRULE(this.typeName);
    this.CONSUME(keyword(":"));
    const bound = this.nameOf(this.CONSUME(Name));
    return { name, bound };
  });
}
