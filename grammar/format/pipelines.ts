/** How pipelines are laid out. */

import type { PipelineAction, PipelineDecl, PipelineItem } from "../ast.ts";
import type { Cursor } from "./cursor.ts";
import { brokenGroup, column, type Doc, freshline, group, hardline, indent, line } from "./doc.ts";
import { braced, commaList, facts } from "./declarations.ts";
import { afterSign, bracketed, expression, isNothing } from "./expressions.ts";

export function pipeline(c: Cursor, decl: PipelineDecl): Doc {
  const name = [c.take("pipeline"), " ", c.take(decl.name.text)];
  const params =
    decl.params.length === 0 && !c.nextIs("[")
      ? ""
      : bracketed(c, "[", decl.params, (param) => c.take(param.text), "]");
  return [name, params, facts(c, decl.where), " ", braced(c, decl.items, (each) => item(c, each))];
}

function item(c: Cursor, each: PipelineItem): Doc {
  switch (each.kind) {
    case "rank":
      return [
        c.take("rank"),
        " ",
        c.take(each.variable.text),
        " ",
        c.take("in"),
        " ",
        expression(c, each.count),
      ];
    case "direction": {
      const head = [
        c.take("direction"),
        " ",
        c.take(each.name.text),
        c.take(":"),
        column("direction"),
        c.take("stage"),
        " ",
      ];
      return [head, commaList(c, each.stages, (stage) => expression(c, stage))];
    }
    case "let":
      return [
        c.take("let"),
        " ",
        c.take(each.name.text),
        column("let"),
        c.take("="),
        afterSign(c, each.value),
      ];
    case "phase": {
      const head = [c.take("phase"), " ", c.take(each.name.text), column("phase")];
      if (each.variable === undefined || each.count === undefined) return [head, actions(c, each.body)];
      const times = [
        c.take("for"),
        " ",
        c.take(each.variable.text),
        " ",
        c.take("in"),
        " ",
        expression(c, each.count),
      ];
      return [head, times, column("actions"), actions(c, each.body)];
    }
  }
}

/** `{ F(near), W }`: on one line where the source has it so and there is room. */
function actions(c: Cursor, list: readonly PipelineAction[]): Doc {
  const open = [c.take("{"), c.separator()];
  const broken = c.newLineAhead();
  const docs = list.map((each, i): Doc => {
    const blank = i > 0 && c.blankAhead() ? hardline : "";
    const doc = [blank, c.leading(), action(c, each)];
    const more = c.nextIs(",", ";") ? c.separator() : "";
    return i === list.length - 1 ? [doc, more] : [doc, ",", more, line];
  });
  const dangling = c.leading();
  if (list.length === 0 && isNothing(dangling)) return [open, c.take("}")];
  const body = [open, indent([line, ...docs, dangling]), isNothing(dangling) ? line : freshline, c.take("}")];
  return (broken ? brokenGroup : group)(body);
}

function action(c: Cursor, each: PipelineAction): Doc {
  switch (each.kind) {
    case "action": {
      const name = c.take(each.name.text);
      if (each.direction === undefined) return name;
      const direction = [c.take("("), expression(c, each.direction)];
      const slot = each.slot === undefined ? "" : [c.take(","), " ", expression(c, each.slot)];
      return [name, direction, slot, c.take(")")];
    }
    case "overlap":
      return [c.take("overlap"), bracketed(c, "(", each.actions, (part) => action(c, part), ")")];
    case "if": {
      const condition = [c.take("if"), " ", expression(c, each.condition)];
      const then = [" ", c.take("then"), " ", branch(c, each.then)];
      const otherwise = c.nextIs("else") ? [" ", c.take("else"), " ", branch(c, each.else)] : "";
      return [condition, then, otherwise];
    }
  }
}

function branch(c: Cursor, list: readonly PipelineAction[]): Doc {
  const [only] = list;
  return c.nextIs("{") || only === undefined ? actions(c, list) : action(c, only);
}
