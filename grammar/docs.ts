/** Doc comments, and which declaration each is of. */

import type { IToken } from "./chevrotain.ts";
import type { Comment } from "./ast.ts";
import { endOf } from "./layout-lines.ts";
import type { Lexed } from "./lexer.ts";

export interface Docs {
  /** The `///` lines that open the file. */
  readonly file: string | undefined;
  /** The `///` lines between what stands at an offset and the token before it. */
  readonly at: (start: number) => string | undefined;
  /** Plain comments as written. */
  readonly comments: readonly Comment[];
}

export function docsOf(text: string, lexed: Lexed): Docs {
  const docs = lexed.notes.filter(isDoc);
  const opening = openingDocs(text, docs);
  const byToken = new Map<number, string[]>();
  let t = 0;
  for (const doc of docs.slice(opening.length)) {
    while ((lexed.tokens[t]?.startOffset ?? Infinity) < doc.startOffset) t += 1;
    const next = lexed.tokens[t];
    if (next === undefined) break;
    const lines = byToken.get(next.startOffset);
    if (lines === undefined) byToken.set(next.startOffset, [docText(doc)]);
    else lines.push(docText(doc));
  }
  return {
    file: opening.length === 0 ? undefined : opening.map(docText).join("\n"),
    at: (start) => byToken.get(start)?.join("\n"),
    comments: lexed.notes
      .filter((note) => !isDoc(note))
      .map((note) => ({ text: note.image, span: { start: note.startOffset, end: endOf(note) } })),
  };
}

/** `///` and no more slashes: a line of slashes is a plain comment. */
export function isDoc(note: IToken): boolean {
  return note.image.startsWith("///") && !note.image.startsWith("////");
}

function docText(note: IToken): string {
  return note.image.slice(3).replace(/^ /, "").trimEnd();
}

/** The run of `///` lines, one under the other, that the file begins with. */
function openingDocs(text: string, docs: readonly IToken[]): readonly IToken[] {
  let count = 0;
  let end = text.startsWith("\ufeff") ? 1 : 0;
  for (const doc of docs) {
    const gap = text.slice(end, doc.startOffset);
    if (count === 0 ? /\S/.test(gap) : !/^(?:\r\n|\n|\r)[ \t]*$/.test(gap)) break;
    count += 1;
    end = endOf(doc);
  }
  return docs.slice(0, count);
}
