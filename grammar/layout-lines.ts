/** Where tokens stand: on their lines, and in how many brackets. */

import type { IToken, TokenType } from "./chevrotain.ts";
import { Dtype, Int, keyword, Name } from "./tokens.ts";

const declares: ReadonlySet<TokenType> = new Set(
  "fn import dim mesh const module param state derive numerics schedule pipeline kernel"
    .split(" ")
    .map(keyword),
);

/** What may stand between the `<` and `>` of type arguments. */
const inTypeArguments: ReadonlySet<TokenType> = new Set([
  Name,
  Dtype,
  Int,
  ...", @ ( ) + - * / : [ ] .".split(" ").map(keyword),
]);

export function endOf(token: IToken): number {
  return token.startOffset + token.image.length;
}

/** A token that is not in the text. */
export function virtual(type: TokenType, at: number): IToken {
  return { image: "", startOffset: at, tokenType: type, tokenTypeIdx: type.tokenTypeIdx ?? 0 };
}

/** How many brackets a token stands in, its own apart. The layout sets it. */
export function depthOf(token: IToken): number {
  return typeof token.payload === "number" ? token.payload : -1;
}

export function setDepth(token: IToken, depth: number): void {
  token.payload = depth;
}

/** Whether a line ends between two neighbours. */
export function startsLine(text: string, before: IToken | undefined, token: IToken): boolean {
  for (let i = before === undefined ? 0 : endOf(before); i < token.startOffset; i += 1) {
    const code = text.charCodeAt(i);
    if (code === 10 || code === 13) return true;
  }
  return false;
}

/** Spaces and tabs before a token that begins its line. */
export function indentAt(text: string, at: number): number {
  let start = at;
  while (start > 0 && isBlank(text.charCodeAt(start - 1))) start -= 1;
  return at - start;
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

/** Whether the last token is the `>` of `Mla<W>` and not of a comparison that goes on. */
export function closesTypeArguments(tokens: readonly IToken[]): boolean {
  if (tokens.at(-1)?.tokenType !== keyword(">")) return false;
  for (let i = tokens.length - 2; i >= 0 && i > tokens.length - 40; i -= 1) {
    const type = tokens[i]?.tokenType;
    if (type === keyword("<")) return true;
    if (type === undefined || !inTypeArguments.has(type)) return false;
  }
  return false;
}

/** `fn f`, `dim N`: two words that only a declaration begins with. */
export function isWordThatDeclares(token: IToken, next: IToken | undefined): boolean {
  if (!declares.has(token.tokenType) || next === undefined) return false;
  return next.tokenType === Name || (next.tokenType.CATEGORIES ?? []).includes(Name);
}
