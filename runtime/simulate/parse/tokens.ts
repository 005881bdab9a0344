/** Splits PTX text (PTX ISA 4) into tokens, comments removed. */
import { SimulateError } from "../finding.ts";

export type TokenKind = "word" | "directive" | "number" | "string" | "symbol" | "end";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly line: number;
  /** Offset of the first character, so that a statement can be quoted. */
  readonly at: number;
}

// A word takes dots inside, so that an opcode with its modifiers is one token; a directive begins with a dot.
const pattern =
  /(\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|0[xX][0-9a-fA-F]+U?|0[bB][01]+U?|\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+U?)|([a-zA-Z][\w$]*|[_$%][\w$]+|_)((?:\.[\w$]+(?:::[\w$]+)*|::[\w$]+)*)|(\.[a-zA-Z_][\w$]*(?:::[\w$]+)*)|("(?:[^"\\]|\\.)*")|([{}[\]()<>;,:@!|+\-*/=~&^?%])/y;

export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  pattern.lastIndex = 0;
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex;
    const found = pattern.exec(text);
    if (found === null)
      throw new SimulateError(`I cannot read ${JSON.stringify(text.slice(at, at + 20))}`, line);
    const [whole, space, number, word, , directive, string] = found;
    if (space === undefined) {
      const kind =
        number !== undefined
          ? "number"
          : word !== undefined
            ? "word"
            : directive !== undefined
              ? "directive"
              : string !== undefined
                ? "string"
                : "symbol";
      tokens.push({ kind, text: whole, line, at });
    } else {
      for (let i = 0; i < whole.length; i++) if (whole.charCodeAt(i) === 10) line++;
    }
  }
  tokens.push({ kind: "end", text: "", line, at: text.length });
  return tokens;
}
