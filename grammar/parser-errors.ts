/** What the parser's exceptions become: one sentence, and what to try where that is likely. */

import {
  EOF,
  type IParserErrorMessageProvider,
  type IRecognitionException,
  type IToken,
  type TokenType,
} from "./chevrotain.ts";
import type { SyntaxError } from "./errors.ts";
import { endOf } from "./layout-lines.ts";
import { Dtype, End, Infix, keyword, Name, reservedWords } from "./tokens.ts";

/** Says only what was expected; `explain` makes the sentence. */
export const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => expectedText(expected),
  buildNotAllInputParsedMessage: () => "a declaration",
  buildNoViableAltMessage: ({ customUserDescription, ruleName }) => customUserDescription ?? ruleName,
  buildEarlyExitMessage: ({ customUserDescription, ruleName }) => customUserDescription ?? ruleName,
};

function expectedText(type: TokenType): string {
  if (type === keyword(")") || type === keyword("]") || type === keyword(">"))
    return `',' or ${type.LABEL ?? ""}`;
  return type.LABEL ?? type.name;
}

/** Words that begin a declaration, in the order in which the reference has them. */
const declarationWords = "import dim mesh const fn module derive numerics schedule pipeline kernel".split(
  " ",
);
const memberWords = "param state const fn derive".split(" ");

/** Words of other languages where a statement or declaration begins. */
const foreignWords: ReadonlyMap<string, string> = new Map([
  ["return", "the last expression of a body is its result: leave 'return' out"],
  ["var", "write 'let'"],
  ["val", "write 'let'"],
  ["def", "write 'fn'"],
  ["func", "write 'fn'"],
  ["function", "write 'fn'"],
  ["proc", "write 'fn'"],
  ["class", "write 'module'"],
  ["struct", "write 'module', or a record type '(a: f32[N], b: f32[N])'"],
  ["type", "name a size with 'dim', or weights and functions with 'module'"],
  ["elif", "write 'else if'"],
  ["while", "there is no loop over statements: 'for i: e' builds a tensor, 'sum[k](e)' reduces one"],
  ["const", "inside a function write 'let'"],
  ["dims", "write 'dim'"],
  ["from", "write 'import std.nn { softmax }'"],
  ["use", "write 'import std.nn { softmax }'"],
]);

export function explain(error: IRecognitionException, text: string): SyntaxError {
  const token = error.token;
  const start = token.tokenType === EOF ? text.length : token.startOffset;
  const span = { start, end: token.tokenType === EOF ? start : endOf(token) };
  const before = previous(error);
  if (error.message === "a name" && isReserved(token)) {
    const what = token.tokenType === Dtype ? "a dtype" : "a reserved word";
    return {
      span,
      code: "WF1009",
      message: `'${token.image}' is ${what}, so it cannot be a name`,
      help: `call it '${token.image}_', or something else`,
    };
  }
  if (before?.tokenType === End && before.image === "" && isInfix(token)) {
    return {
      span,
      code: "WF1010",
      message: `the line before ended its statement, so '${token.image}' has nothing to its left`,
      help: `put '${token.image}' at the end of the line before, or the whole in parentheses`,
    };
  }
  const message = `I expected ${error.message}, but found ${describe(token)}`;
  return { span, code: "WF1008", message, help: help(error.message, token, before) };
}

function describe(token: IToken): string {
  if (token.tokenType === EOF) return "the end of the file";
  if (token.image === "") return token.tokenType === End ? "the end of the line" : "what I could not read";
  return `'${token.image.length > 40 ? `${token.image.slice(0, 40)}...` : token.image}'`;
}

function previous(error: IRecognitionException): IToken | undefined {
  return "previousToken" in error ? (error.previousToken as IToken) : undefined;
}

function isReserved(token: IToken): boolean {
  return token.tokenType === Dtype || reservedWords.includes(token.image);
}

function isInfix(token: IToken): boolean {
  return token.image === "as" || (token.tokenType.CATEGORIES ?? []).includes(Infix);
}

function help(expected: string, token: IToken, before: IToken | undefined): string | undefined {
  const { image } = token;
  if (image === "=" && expected !== "a name") {
    if (expected === "',' or ')'") return "arguments are given by position; '==' compares";
    return "'==' compares; 'let x = e' names a value";
  }
  if (expected === "',' or ')'" && image === ",") return "a record names its fields: '(a: x, b: y)'";
  if (expected === "'else'")
    return "an 'if' gives a value, so it says what it gives otherwise: 'if c then a else b'";
  if (expected === "an expression" && image === ".") return "write a digit before the point: '0.5'";
  if (expected === "the end of the statement" && before !== undefined) {
    return foreignWords.get(before.image) ?? nearest(before.image, ["let"]) ?? afterStatement(token);
  }
  if (expected === "a declaration") return declarationHelp(image);
  if (expected.startsWith("'param'")) return foreignWords.get(image) ?? nearest(image, memberWords);
  if (/^'\w+'/.test(expected)) return nearest(image, expected.match(/\w+/g) ?? []);
  return undefined;
}

function afterStatement(token: IToken): string | undefined {
  if (token.tokenType === Name || token.tokenType === keyword("let"))
    return "two statements on one line have ';' between";
  return undefined;
}

function declarationHelp(image: string): string | undefined {
  if (image === "param" || image === "state")
    return `'${image}' stands in a module: 'module Name { ${image} .. }'`;
  if (image === "let") return "outside functions write 'const' for a number, 'dim' for a size";
  return foreignWords.get(image) ?? nearest(image, declarationWords);
}

/** The one of `words` that `image` most likely was to be: at most two letters away. */
function nearest(image: string, words: readonly string[]): string | undefined {
  if (image.length < 3) return undefined;
  const close = words
    .map((word) => ({ word, distance: editDistance(image, word) }))
    .filter(({ word, distance }) => distance > 0 && distance <= (word.length < 4 ? 1 : 2))
    .sort((a, b) => a.distance - b.distance)[0];
  return close === undefined ? undefined : `did you mean '${close.word}'?`;
}

function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 3;
}
