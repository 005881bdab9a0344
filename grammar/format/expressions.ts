/** How expressions and types are laid out. */

import type {
  AxisExpr,
  BlockScale,
  CallDim,
  CallExpr,
  Expr,
  ForExpr,
  ForVariable,
  IndexExpr,
  IndexPart,
  TypeExpr,
  TypeParam,
} from "../ast.ts";
import type { Cursor } from "./cursor.ts";
import { type Doc, freshline, group, hang, indent, lastComma, line, softline } from "./doc.ts";

/** Items between brackets: on one line, or one a line with a comma after the last. */
export function bracketed<T>(
  c: Cursor,
  open: string,
  items: readonly T[],
  item: (item: T) => Doc,
  close: string,
): Doc {
  const before = [c.take(open), c.separator()];
  const docs = items.map((each, i): Doc => {
    const first = [c.leading(), item(each)];
    const more = c.nextIs(close) ? "" : c.separator();
    return i === items.length - 1 ? [first, more, lastComma] : [first, ",", more, line];
  });
  const dangling = c.leading();
  if (items.length === 0 && isNothing(dangling)) return [before, c.take(close)];
  const edge = open === "{" ? line : softline;
  return group([
    before,
    indent([edge, docs, dangling]),
    isNothing(dangling) ? edge : freshline,
    c.take(close),
  ]);
}

export function isNothing(doc: Doc): boolean {
  return Array.isArray(doc) && doc.length === 0;
}

/** Whether the text is laid out by brackets of its own, so that it may begin on the line before. */
function hugs(value: Expr): boolean {
  switch (value.kind) {
    case "binary":
    case "where":
    case "as":
    case "unary":
    case "if":
      return false;
    default:
      return true;
  }
}

/** What stands after `=`: on its line if it brings brackets, else on the next where there is no room. */
export function afterSign(c: Cursor, value: Expr): Doc {
  const doc = expression(c, value);
  return hugs(value) ? [" ", doc] : group(indent([line, doc]));
}

export function expression(c: Cursor, value: Expr): Doc {
  switch (value.kind) {
    case "int":
    case "float":
    case "bool":
    case "inf":
    case "name":
    case "error":
      return c.take();
    case "unary": {
      const op = c.take(value.op);
      return [op, value.op === "not" ? " " : "", expression(c, value.value)];
    }
    case "binary":
    case "where":
    case "as":
      return chain(c, value);
    case "for":
      return loop(c, value);
    case "if": {
      const condition = [c.take("if"), " ", expression(c, value.condition)];
      const then = [c.take("then"), " ", indent(expression(c, value.then))];
      const otherwise = [c.take("else"), " ", indent(expression(c, value.else))];
      return group([condition, indent([line, then, line, otherwise])]);
    }
    case "call":
      return call(c, value);
    case "index":
      return index(c, value);
    case "field":
      return [expression(c, value.value), c.take("."), c.take(value.field.text)];
    case "record":
      return bracketed(
        c,
        "(",
        value.fields,
        (field) => [c.take(field.name.text), c.take(":"), " ", expression(c, field.value)],
        ")",
      );
    case "paren":
      return group([c.take("("), indent([softline, expression(c, value.value)]), softline, c.take(")")]);
  }
}

type Chained = Extract<Expr, { kind: "binary" | "where" | "as" }>;

const families: Readonly<Record<string, string>> = {
  "*": "*",
  "/": "*",
  "%": "*",
  "+": "+",
  "-": "+",
  where: "where",
  as: "where",
};

const opOf = (value: Chained): string => (value.kind === "binary" ? value.op : value.kind);
const familyOf = (value: Chained): string => families[opOf(value)] ?? opOf(value);

/** `a + b - c` as one list, so that it breaks at all of its operators or none, and without recursion. */
function chain(c: Cursor, value: Chained): Doc {
  const links: Chained[] = [];
  let first: Expr = value;
  while (
    (first.kind === "binary" || first.kind === "where" || first.kind === "as") &&
    familyOf(first) === familyOf(value)
  ) {
    links.push(first);
    first = first.kind === "binary" ? first.left : first.value;
  }
  const head = expression(c, first);
  const rest = links.reverse().map((link): Doc => {
    if (link.kind === "as") return [" ", c.take("as"), " ", axes(c, link.axes)];
    const op = c.take(opOf(link));
    // `2^-5` is one number to a reader.
    if (opOf(link) === "^") return [op, expression(c, right(link))];
    return [" ", op, indent([line, expression(c, right(link))])];
  });
  return group([head, ...rest]);
}

function right(link: Exclude<Chained, { kind: "as" }>): Expr {
  return link.kind === "binary" ? link.right : link.mask;
}

function loop(c: Cursor, value: ForExpr): Doc {
  const start = c.take("for");
  const variables = value.variables.map((variable, i): Doc => [
    i === 0 ? " " : "",
    forVariable(c, variable),
    separatorBefore(c, i < value.variables.length - 1),
  ]);
  const head = [start, variables, c.take(":")];
  const body = expression(c, value.body);
  return group([head, value.body.kind === "call" ? hang(body) : indent([line, body])]);
}

function separatorBefore(c: Cursor, more: boolean): Doc {
  return more ? [",", c.separator(), " "] : c.separator();
}

function forVariable(c: Cursor, variable: ForVariable): Doc {
  if (variable.kind === "pack") return c.take("...");
  const name = c.take(variable.name.text);
  return variable.range === undefined ? name : [name, " ", c.take("in"), " ", expression(c, variable.range)];
}

function call(c: Cursor, value: CallExpr): Doc {
  const callee = expression(c, value.callee);
  const typeArgs =
    value.typeArgs.length === 0 ? "" : bracketed(c, "<", value.typeArgs, (arg) => typeExpr(c, arg), ">");
  const dims = value.dims === undefined ? "" : bracketed(c, "[", value.dims, (dim) => callDim(c, dim), "]");
  return [callee, typeArgs, dims, bracketed(c, "(", value.args, (arg) => expression(c, arg), ")")];
}

function callDim(c: Cursor, dim: CallDim): Doc {
  switch (dim.kind) {
    case "dim":
      return expression(c, dim.dim);
    case "variable":
      return [c.take(dim.name.text), " ", c.take("in"), " ", expression(c, dim.range)];
    case "parts":
      return dim.parts.map((part, i): Doc => [i === 0 ? "" : [" ", c.take("|"), " "], expression(c, part)]);
  }
}

function index(c: Cursor, value: IndexExpr): Doc {
  const read = [
    expression(c, value.value),
    bracketed(c, "[", value.indices, (part) => indexPart(c, part), "]"),
  ];
  return value.else === undefined ? read : [read, " ", c.take("else"), " ", expression(c, value.else)];
}

function indexPart(c: Cursor, part: IndexPart): Doc {
  switch (part.kind) {
    case "pack":
      return c.take("...");
    case "at":
      return expression(c, part.value);
    case "rename":
      return [expression(c, part.from), " ", c.take("as"), " ", expression(c, part.to)];
  }
}

// ---------------------------------------------------------------- types

export function typeExpr(c: Cursor, type: TypeExpr): Doc {
  switch (type.kind) {
    case "error-type":
      return "";
    case "tuple-type":
      return bracketed(
        c,
        "(",
        type.fields,
        (field) => [c.take(field.name.text), c.take(":"), " ", typeExpr(c, field.type)],
        ")",
      );
    case "type": {
      // A block alone, in `contract`, has its name from the type before it.
      if (type.name.span.start === type.name.span.end && type.scale !== undefined)
        return blockScale(c, type.scale);
      const name = c.take(type.name.text);
      const args = type.args.length === 0 ? "" : bracketed(c, "<", type.args, (arg) => typeArg(c, arg), ">");
      const shape = type.axes === undefined ? "" : axes(c, type.axes);
      const scale = type.scale === undefined ? "" : [" ", c.take("@"), " ", blockScale(c, type.scale)];
      return [name, args, shape, scale];
    }
  }
}

function typeArg(c: Cursor, arg: TypeExpr | Expr): Doc {
  return arg.kind === "type" || arg.kind === "tuple-type" || arg.kind === "error-type"
    ? typeExpr(c, arg)
    : expression(c, arg);
}

function blockScale(c: Cursor, scale: BlockScale): Doc {
  const block = bracketed(c, "(", scale.block, () => c.take(), ")");
  return scale.format === undefined ? block : [block, " ", c.take(scale.format.text)];
}

function axes(c: Cursor, list: readonly AxisExpr[]): Doc {
  return bracketed(c, "[", list, (axis) => axisExpr(c, axis), "]");
}

function axisExpr(c: Cursor, axis: AxisExpr): Doc {
  if (axis.kind === "pack") return c.take("...");
  const dim = expression(c, axis.dim);
  return axis.mesh === undefined ? dim : [dim, " ", c.take("@"), " ", c.take(axis.mesh.text)];
}

export function typeParams(c: Cursor, params: readonly TypeParam[]): Doc {
  if (params.length === 0) return "";
  return bracketed(
    c,
    "<",
    params,
    (param) => [c.take(param.name.text), c.take(":"), " ", c.take(param.bound.text)],
    ">",
  );
}
