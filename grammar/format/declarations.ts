/** How declarations and statements are laid out. */

import type {
  Block,
  Declaration,
  DeriveDecl,
  DimBinding,
  DimDecl,
  Expr,
  FnDecl,
  ImportDecl,
  KernelDecl,
  Member,
  ModuleDecl,
  Name,
  NumericsClause,
  Param,
  ScheduleClause,
  ScheduleItem,
  SchedulePart,
  Statement,
} from "../ast.ts";
import type { Cursor } from "./cursor.ts";
import {
  blankLine,
  brokenGroup,
  column,
  freshline,
  type Doc,
  group,
  hardline,
  indent,
  lateGroup,
  line,
} from "./doc.ts";
import { afterSign, bracketed, expression, isNothing, typeExpr, typeParams } from "./expressions.ts";
import { pipeline } from "./pipelines.ts";

export function declaration(c: Cursor, decl: Declaration): Doc {
  switch (decl.kind) {
    case "import":
      return importDecl(c, decl);
    case "dim":
      return dimDecl(c, decl);
    case "mesh":
      return [c.take("mesh"), " ", commaList(c, decl.names, (name) => c.take(name.text))];
    case "const":
    case "fn":
    case "derive":
      return member(c, decl);
    case "module":
      return moduleDecl(c, decl);
    case "numerics":
      return [
        c.take("numerics"),
        " ",
        path(c, decl.target),
        " ",
        braced(c, decl.clauses, (clause) => numericsClause(c, clause)),
      ];
    case "schedule": {
      const head = [
        c.take("schedule"),
        " ",
        path(c, decl.target),
        " ",
        c.take("on"),
        " ",
        c.take(decl.on.text),
        " ",
      ];
      return [head, braced(c, decl.clauses, (clause) => scheduleClause(c, clause))];
    }
    case "pipeline":
      return pipeline(c, decl);
    case "kernel":
      return kernelDecl(c, decl);
  }
}

/**
 * Statements one under the other, a blank line between two kept. They stay on one line where the source
 * has them so and there is room.
 */
export function braced<T>(c: Cursor, items: readonly T[], item: (item: T) => Doc): Doc {
  const open = [c.take("{"), c.separator()];
  const broken = c.newLineAhead() && (items.length > 0 || !c.nextIs("}"));
  const body = lines(c, items, item, { kind: "line", flat: " " });
  const blank = items.length > 0 && c.blankAhead() ? blankLine : "";
  const dangling = c.leading();
  const bare = isNothing(dangling);
  if (items.length === 0 && bare) return [open, c.take("}")];
  const inside = [open, indent([line, body, bare ? "" : [blank, dangling]])];
  return (broken ? brokenGroup : group)([...inside, bare ? line : freshline, c.take("}")]);
}

/** Items with line ends between: hard ones, or the given one with a `;` where it is a space. */
export function lines<T>(c: Cursor, items: readonly T[], item: (item: T) => Doc, between: Doc): Doc {
  return items.map((each, i): Doc => {
    const blank = i > 0 && c.blankAhead();
    const separator: Doc =
      i === 0
        ? ""
        : [
            between === hardline ? "" : { kind: "choice", broken: "", flat: ";" },
            blank ? hardline : "",
            between,
          ];
    return [separator, c.leading(), item(each), c.separator()];
  });
}

export function commaList<T>(c: Cursor, items: readonly T[], item: (item: T) => Doc): Doc {
  const docs = items.map((each, i): Doc => {
    const doc = item(each);
    return i === items.length - 1
      ? [doc, c.nextIs(",") ? c.separator() : ""]
      : [doc, ",", c.separator(), line];
  });
  return group(indent(docs));
}

export function facts(c: Cursor, where: readonly Expr[]): Doc {
  if (where.length === 0) return "";
  return [" ", c.take("where"), " ", commaList(c, where, (fact) => expression(c, fact))];
}

function path(c: Cursor, names: readonly Name[]): Doc {
  return names.map((name, i): Doc => [i === 0 ? "" : c.take("."), c.take(name.text)]);
}

function importDecl(c: Cursor, decl: ImportDecl): Doc {
  const start = [c.take("import"), " "];
  const from = decl.module === undefined ? c.take() : path(c, decl.module);
  return [start, from, " ", bracketed(c, "{", decl.names, (name) => c.take(name.text), "}")];
}

function dimDecl(c: Cursor, decl: DimDecl): Doc {
  return [c.take("dim"), " ", commaList(c, decl.dims, (dim) => dimBinding(c, dim)), facts(c, decl.where)];
}

function dimBinding(c: Cursor, dim: DimBinding): Doc {
  const name = c.take(dim.name.text);
  const ragged = dim.raggedBy === undefined ? "" : [c.take("["), c.take(dim.raggedBy.text), c.take("]")];
  return [name, ragged, dim.value === undefined ? "" : [" ", c.take("="), afterSign(c, dim.value)]];
}

function moduleDecl(c: Cursor, decl: ModuleDecl): Doc {
  const head = [c.take("module"), " ", c.take(decl.name.text), typeParams(c, decl.typeParams), " "];
  return [head, braced(c, decl.members, (each) => member(c, each))];
}

function member(c: Cursor, decl: Member): Doc {
  switch (decl.kind) {
    case "param":
      return [
        c.take("param"),
        " ",
        c.take(decl.name.text),
        c.take(":"),
        column("param"),
        typeExpr(c, decl.type),
      ];
    case "state":
      return [c.take("state"), " ", c.take(decl.name.text), c.take(":"), " ", typeExpr(c, decl.type)];
    case "const":
      return [c.take("const"), " ", c.take(decl.name.text), " ", c.take("="), afterSign(c, decl.value)];
    case "fn":
      return fnDecl(c, decl);
    case "derive":
      return deriveDecl(c, decl);
  }
}

function fnDecl(c: Cursor, decl: FnDecl): Doc {
  const name = [c.take("fn"), " ", c.take(decl.name.text)];
  return [name, signature(c, decl), decl.body === undefined ? "" : [" ", block(c, decl.body)]];
}

function kernelDecl(c: Cursor, decl: KernelDecl): Doc {
  const name = [c.take("kernel"), " ", c.take(decl.name.text)];
  const head = signature(c, { ...decl, dimParams: [], where: [] });
  const target =
    decl.implements === undefined ? "" : [" ", c.take("implements"), " ", c.take(decl.implements.text)];
  return [name, head, target, " ", block(c, decl.body)];
}

function signature(
  c: Cursor,
  fn: Pick<FnDecl, "typeParams" | "dimParams" | "params" | "result" | "where">,
): Doc {
  const types = typeParams(c, fn.typeParams);
  const dims =
    fn.dimParams.length === 0 ? "" : bracketed(c, "[", fn.dimParams, (dim) => c.take(dim.text), "]");
  const params = bracketed(c, "(", fn.params, (param) => paramDoc(c, param), ")");
  const result = fn.result === undefined ? "" : [" ", c.take("->"), " ", lateGroup(typeExpr(c, fn.result))];
  return [types, dims, params, result, facts(c, fn.where)];
}

function paramDoc(c: Cursor, param: Param): Doc {
  const mut = param.mut ? [c.take("mut"), " "] : "";
  const name = [mut, c.take(param.name.text), c.take(":"), " ", typeExpr(c, param.type)];
  return param.default === undefined ? name : [name, " ", c.take("="), afterSign(c, param.default)];
}

function deriveDecl(c: Cursor, decl: DeriveDecl): Doc {
  const head = [
    c.take("derive"),
    " ",
    c.take(decl.name.text),
    " ",
    c.take("from"),
    " ",
    c.take(decl.from.text),
  ];
  const by = [" ", c.take("by"), " ", c.take(decl.rule.text), " "];
  const steps = bracketed(
    c,
    "{",
    decl.steps,
    (step) => [c.take(step.factor.text), " ", c.take(step.where), " ", c.take(step.target.text)],
    "}",
  );
  return [head, by, steps];
}

// ---------------------------------------------------------------- statements

function block(c: Cursor, body: Block): Doc {
  const statements: readonly (Statement | Expr)[] =
    body.result === undefined ? body.statements : [...body.statements, body.result];
  return braced(c, statements, (each) => statement(c, each));
}

function statement(c: Cursor, each: Statement | Expr): Doc {
  if (each.kind === "do") return expression(c, each.value);
  if (each.kind !== "let") return expression(c, each);
  const start = [c.take("let"), " "];
  const name = each.destructure
    ? bracketed(c, "(", each.pattern, (part) => c.take(part.text), ")")
    : c.take(each.pattern[0]?.text);
  const type = each.type === undefined ? "" : [c.take(":"), " ", typeExpr(c, each.type)];
  return [start, name, type, " ", c.take("="), afterSign(c, each.value)];
}

// ---------------------------------------------------------------- numerics, schedules

function numericsClause(c: Cursor, clause: NumericsClause): Doc {
  const head = [c.take(clause.kind), c.take(":"), " "];
  switch (clause.kind) {
    case "contract":
      return [head, commaList(c, clause.types, (type) => typeExpr(c, type))];
    case "accumulate": {
      const type = typeExpr(c, clause.type);
      return [
        head,
        type,
        clause.every === undefined ? "" : [" ", c.take("every"), " ", expression(c, clause.every)],
      ];
    }
    case "bound":
      return [head, c.take(clause.measure.text), " ", expression(c, clause.value)];
  }
}

function scheduleClause(c: Cursor, clause: ScheduleClause): Doc {
  const word = c.take(clause.keyword.text);
  return clause.items.length === 0
    ? word
    : [word, " ", commaList(c, clause.items, (item) => scheduleItem(c, item))];
}

function scheduleItem(c: Cursor, item: ScheduleItem): Doc {
  return item.parts.map((part, i): Doc => [i === 0 ? "" : " ", schedulePart(c, part)]);
}

function schedulePart(c: Cursor, part: SchedulePart): Doc {
  if (part.kind !== "group") return c.take();
  const open = c.take("(");
  const names = part.axes.map((axis, i): Doc => [i === 0 ? "" : " ", c.take(axis.text)]);
  return [open, ...names, c.take(")")];
}
