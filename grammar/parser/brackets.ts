/** What stands in `[..]` after a value: indices of a read, or dims of a call, told apart by what follows. */

import type { CallDim, DimExpr, Expr, IndexPart, Span } from "../ast.ts";

export type BracketItem =
  | { readonly kind: "pack"; readonly span: Span }
  | { readonly kind: "at"; readonly value: Expr; readonly span: Span }
  | { readonly kind: "in"; readonly value: Expr; readonly range: DimExpr; readonly span: Span }
  | { readonly kind: "rename"; readonly from: DimExpr; readonly to: DimExpr; readonly span: Span }
  | { readonly kind: "parts"; readonly parts: readonly DimExpr[]; readonly span: Span };

type Fail = (span: Span, message: string, help: string | undefined) => void;

export function asCallDims(items: readonly BracketItem[], fail: Fail): CallDim[] {
  return items.flatMap((item): CallDim[] => {
    switch (item.kind) {
      case "at":
        return [{ kind: "dim", dim: item.value, span: item.span }];
      case "in":
        if (item.value.kind === "name")
          return [{ kind: "variable", name: item.value.name, range: item.range, span: item.span }];
        fail(item.value.span, "I expected one index variable before 'in'", undefined);
        return [];
      case "parts":
        return [{ kind: "parts", parts: item.parts, span: item.span }];
      case "pack":
        fail(item.span, "a call names its axes one by one, so '...' cannot stand here", undefined);
        return [];
      case "rename":
        fail(
          item.span,
          "a call names its axes; 'as' renames an axis of a tensor",
          "rename the argument: 'f(x[S as T])'",
        );
        return [];
    }
  });
}

export function asIndexParts(items: readonly BracketItem[], fail: Fail): IndexPart[] {
  return items.flatMap((item): IndexPart[] => {
    switch (item.kind) {
      case "at":
      case "pack":
      case "rename":
        return [item];
      case "in":
        fail(
          item.span,
          "'in' gives a reduction's variable its range, and no '(' follows this bracket",
          "write 'sum[k in T](..)' or 'for k in T: ..'",
        );
        return [{ kind: "at", value: item.value, span: item.span }];
      case "parts":
        fail(
          item.span,
          "'|' parts the axes of a 'split', and no '(' follows this bracket",
          "write 'split[A | B](x)'",
        );
        return [];
    }
  });
}
