/**
 * Layouts as data, after Wadler and Prettier: a group is written on one line if it fits, and else each of
 * its own line breaks is taken.
 */

export type Doc =
  | string
  | readonly Doc[]
  | {
      readonly kind: "group";
      readonly body: Doc;
      readonly broken: boolean;
      readonly late: boolean;
      readonly look: Look;
    }
  | { readonly kind: "indent"; readonly body: Doc }
  /** After a space if it fits; else on the next line if it fits there; else after a space, broken. */
  | { readonly kind: "hang"; readonly body: Doc }
  /** A line end, or flat a space or nothing. */
  | { readonly kind: "line"; readonly flat: " " | "" }
  | { readonly kind: "hardline" }
  /** A line end unless the line has nothing on it yet. */
  | { readonly kind: "freshline" }
  /** Text after all else on its line, and then a line end. */
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "choice"; readonly broken: string; readonly flat: string }
  /** Where neighbouring lines are set in columns; a space as far as widths go. */
  | { readonly kind: "column"; readonly name: string };

export const line: Doc = { kind: "line", flat: " " };
export const softline: Doc = { kind: "line", flat: "" };
export const hardline: Doc = { kind: "hardline" };
export const freshline: Doc = { kind: "freshline" };
/** An empty line after what stands before. */
export const blankLine: Doc = [freshline, hardline];
/** A comma after the last item of a list that has a line for each. */
export const lastComma: Doc = { kind: "choice", broken: ",", flat: "" };

export function group(body: Doc): Doc {
  const seen = look(body);
  return { kind: "group", body, broken: seen.breaks, late: false, look: seen };
}

/** A group that breaks only when those before it on its line are broken. */
export function lateGroup(body: Doc): Doc {
  const seen = look(body);
  return { kind: "group", body, broken: seen.breaks, late: true, look: seen };
}

export function brokenGroup(body: Doc): Doc {
  return { kind: "group", body, broken: true, late: false, look: { ...look(body), breaks: true } };
}

export function indent(body: Doc): Doc {
  return { kind: "indent", body };
}

export function hang(body: Doc): Doc {
  return { kind: "hang", body };
}

export function column(name: string): Doc {
  return { kind: "column", name };
}

/** What a group needs to know of what is in it. */
interface Look {
  /** A line end stands in it whatever the width: one of its own, or that after a comment inside. */
  readonly breaks: boolean;
  /** Its last text is a comment. */
  readonly comment: boolean;
  readonly empty: boolean;
}

const nothing: Look = { breaks: false, comment: false, empty: true };
const something: Look = { breaks: false, comment: false, empty: false };

function look(doc: Doc): Look {
  if (typeof doc === "string") return doc === "" ? nothing : something;
  if (isList(doc)) return doc.reduce((before: Look, part) => then(before, look(part)), nothing);
  switch (doc.kind) {
    case "hardline":
    case "freshline":
      return { breaks: true, comment: false, empty: true };
    case "comment":
      return { breaks: false, comment: true, empty: false };
    case "group":
      return doc.look;
    case "indent":
    case "hang":
      return look(doc.body);
    case "line":
    case "choice":
    case "column":
      return nothing;
  }
}

function then(before: Look, after: Look): Look {
  return {
    breaks: before.breaks || after.breaks || (before.comment && !after.empty),
    comment: after.comment || (before.comment && after.empty),
    empty: before.empty && after.empty,
  };
}

function isList(doc: Doc): doc is readonly Doc[] {
  return Array.isArray(doc);
}

type Mode = "flat" | "broken";

interface Piece {
  readonly doc: Doc;
  readonly indent: number;
  readonly mode: Mode;
}

const step = 2;

/** The lines of a layout, with a column's name between `columnMark`s where a column starts. */
export function layLines(doc: Doc, width: number): string[] {
  return new Renderer(width).run(doc);
}

export const columnMark = "\u0001";
/** The column in which comments after a statement stand. */
export const commentColumn = "comment";

class Renderer {
  readonly #width: number;
  readonly #lines: string[] = [];
  #line = "";
  #used = 0;
  #comments: string[] = [];

  constructor(width: number) {
    this.#width = width;
  }

  run(doc: Doc): string[] {
    const open: Piece[] = [{ doc, indent: 0, mode: "broken" }];
    for (let piece = open.pop(); piece !== undefined; piece = open.pop()) this.#write(piece, open);
    this.#newline(0);
    return this.#lines;
  }

  #write(piece: Piece, open: Piece[]): void {
    const { doc, indent: depth, mode } = piece;
    if (typeof doc === "string") return this.#text(doc, depth);
    if (isList(doc)) {
      for (let i = doc.length - 1; i >= 0; i -= 1) open.push({ doc: doc[i] ?? "", indent: depth, mode });
      return;
    }
    switch (doc.kind) {
      case "group": {
        const flat =
          !doc.broken &&
          (mode === "flat" || this.#fits({ doc: doc.body, indent: depth, mode: "flat" }, open));
        open.push({ doc: doc.body, indent: depth, mode: flat ? "flat" : "broken" });
        return;
      }
      case "indent":
        open.push({ doc: doc.body, indent: depth + step, mode });
        return;
      case "hang":
        return this.#hang(piece, doc.body, open);
      case "line":
        return mode === "flat" ? this.#text(doc.flat, depth) : this.#newline(depth);
      case "hardline":
        return this.#newline(depth);
      case "freshline":
        if (this.#line.trim() !== "" || this.#comments.length > 0) this.#newline(depth);
        else this.#line = " ".repeat(depth);
        return;
      case "comment":
        this.#comments.push(doc.text);
        return;
      case "choice":
        return this.#text(mode === "flat" ? doc.flat : doc.broken, depth);
      case "column":
        this.#line += columnMark + doc.name + columnMark;
        this.#used += 1;
        return;
    }
  }

  #hang(piece: Piece, body: Doc, open: Piece[]): void {
    const depth = piece.indent + step;
    const flat: Piece = { doc: body, indent: depth, mode: "flat" };
    const nextLine =
      piece.mode === "broken" && !look(body).breaks && this.#fits(flat, open, this.#width - depth);
    if (nextLine) this.#newline(depth);
    else this.#text(" ", piece.indent);
    open.push(nextLine ? flat : { ...piece, doc: body });
  }

  #text(text: string, depth: number): void {
    if (text === "") return;
    // A comment ends its line, so what no line end was foreseen before goes on the next.
    if (this.#comments.length > 0 && text !== "," && text !== ";") {
      this.#newline(depth + step);
      if (text === " ") return;
    }
    this.#line += text;
    this.#used += text.length;
  }

  #newline(depth: number): void {
    const [first, ...others] = this.#comments;
    if (first !== undefined) this.#line += columnMark + commentColumn + columnMark + first;
    this.#lines.push(this.#line.trimEnd());
    for (const other of others) this.#lines.push(" ".repeat(depth) + other);
    this.#comments = [];
    this.#line = " ".repeat(depth);
    this.#used = depth;
  }

  /** Whether what comes, up to the first line end after it, has room on this line. */
  #fits(first: Piece, rest: readonly Piece[], space: number = this.#width - this.#used): boolean {
    let room = space;
    let next = rest.length - 1;
    const docs: Doc[] = [first.doc];
    const modes: Mode[] = [first.mode];
    while (room >= 0) {
      let doc = docs.pop();
      let mode = modes.pop();
      if (doc === undefined || mode === undefined) {
        const piece = rest[next];
        if (piece === undefined) return true;
        next -= 1;
        ({ doc, mode } = piece);
      }
      if (typeof doc === "string") {
        room -= doc.length;
      } else if (isList(doc)) {
        for (let i = doc.length - 1; i >= 0; i -= 1) {
          docs.push(doc[i] ?? "");
          modes.push(mode);
        }
      } else if (doc.kind === "group" || doc.kind === "indent" || doc.kind === "hang") {
        if (doc.kind === "hang") room -= 1;
        docs.push(doc.body);
        modes.push(doc.kind !== "group" ? mode : doc.broken ? "broken" : doc.late ? "flat" : mode);
      } else if (doc.kind === "line") {
        if (mode === "broken") return true;
        room -= doc.flat.length;
      } else if (doc.kind === "choice") {
        room -= (mode === "flat" ? doc.flat : doc.broken).length;
      } else if (doc.kind === "column") {
        room -= 1;
      } else if (doc.kind !== "comment") {
        return true;
      }
    }
    return false;
  }
}
