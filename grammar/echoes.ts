/**
 * One diagnostic a mistake: where a character or a bracket was wrong, what the parser then says about the
 * same statement is an echo.
 */

import type { IToken, TokenType } from "./chevrotain.ts";
import type { SyntaxError } from "./errors.ts";
import { End, keyword } from "./tokens.ts";

const parts: ReadonlySet<TokenType> = new Set([End, keyword("{"), keyword("}")]);

/** Those of `found` that do not follow an error of `roots` in the same statement, or part of one. */
export function withoutEchoes(
  found: readonly SyntaxError[],
  roots: readonly SyntaxError[],
  tokens: readonly IToken[],
): SyntaxError[] {
  if (roots.length === 0 || found.length === 0) return [...found];
  const borders = tokens.filter((token) => parts.has(token.tokenType)).map((token) => token.startOffset);
  const wrongFrom = new Map<number, number>();
  for (const { span } of roots) {
    const part = partOf(span.start, borders);
    wrongFrom.set(part, Math.min(span.start, wrongFrom.get(part) ?? Infinity));
  }
  return found.filter(({ span }) => span.start < (wrongFrom.get(partOf(span.start, borders)) ?? Infinity));
}

/** How many borders are before an offset. */
function partOf(offset: number, borders: readonly number[]): number {
  let low = 0;
  let high = borders.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((borders[middle] ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
