/** What the lexer says about characters that the language does not have. */

import type { IToken } from "./chevrotain.ts";
import type { Span } from "./ast.ts";
import { maxErrors, type SyntaxError } from "./errors.ts";
import { BadNumber, Foreign, OpenText } from "./tokens.ts";

const foreignHelp: ReadonlyMap<string, string> = new Map([
  ["&", "write 'and'"],
  ["&&", "write 'and'"],
  ["||", "write 'or'"],
  ["!", "write 'not'"],
  ["**", "write a product, or 'exp' and 'log'"],
  ["/*", "a comment begins with '//' and ends with its line"],
  ["*/", "a comment begins with '//' and ends with its line"],
  ["#", "a comment begins with '//'"],
  ["+=", "a value is never changed: give the new one a name with 'let'"],
  ["*=", "a value is never changed: give the new one a name with 'let'"],
  ["::", "write '.' between a module and its member"],
  ["=>", "write '->' before a result type, and ':' after the variables of a 'for'"],
]);

/** Control, bidirectional and invisible characters, but for those that join letters and emoji. */
const hidden = /(?:(?![\t\n\r\u200c\u200d])[\p{Cc}\p{Cf}\u2028\u2029])+/gu;

/** One error a run of hidden characters, wherever it stands: in a comment too. */
export function hiddenCharacters(text: string): SyntaxError[] {
  const errors: SyntaxError[] = [];
  for (const match of text.matchAll(hidden)) {
    if (errors.length >= maxErrors) break;
    // A byte order mark may open a file.
    if (match.index === 0 && match[0] === "\ufeff") continue;
    errors.push({
      span: { start: match.index, end: match.index + match[0].length },
      code: "WF1006",
      message: `this is ${codePoint(match[0])}, a character that cannot be seen, so the text may not be what it seems`,
      help: "delete it",
    });
  }
  return errors;
}

/** Nothing where `hiddenCharacters` has reported the token already. */
export function explainBad(token: IToken): SyntaxError[] {
  const span: Span = { start: token.startOffset, end: token.startOffset + token.image.length };
  if (token.tokenType === OpenText) {
    return [{ span, code: "WF1007", message: "this text has no closing '\"' on its line", help: undefined }];
  }
  if (token.tokenType === BadNumber) {
    return [
      {
        span,
        code: "WF1014",
        message: `I cannot read '${clip(token.image)}' as a number`,
        help: numberHelp(token.image),
      },
    ];
  }
  const known = foreignHelp.get(token.image);
  if (known !== undefined || token.tokenType === Foreign) {
    return [{ span, code: "WF1003", message: `'${token.image}' is not in the language`, help: known }];
  }
  if (hiddenCharacters(token.image).length > 0) return [];
  return [{ span, code: "WF1003", message: badMessage(token.image), help: badHelp(token.image) }];
}

function numberHelp(image: string): string | undefined {
  if (image.endsWith(".")) return `write '${image}0'`;
  const plain = image.replaceAll("_", "");
  if (/^[0-9]+$/.test(plain)) return `write '${plain}'`;
  if (/^0[xX][0-9a-fA-F]+$/.test(plain) && plain.length < 16) return `write '${Number(plain)}'`;
  const suffix = /^([0-9.]+)(?:f|h|u|n|l)$/i.exec(image);
  if (suffix?.[1] !== undefined) return `write '${suffix[1]}': a literal takes the dtype that it meets`;
  return undefined;
}

function badMessage(image: string): string {
  const seen = /^[\p{L}\p{N}\p{P}\p{S}\p{M}]+$/u.test(image) ? `'${clip(image)}'` : codePoint(image);
  return `I cannot read ${seen} here`;
}

function badHelp(image: string): string | undefined {
  if (/^[\u2018\u2019\u201c\u201d]/.test(image)) return 'a path stands in plain quotes: "./blocks.dsl"';
  if (/^\p{L}/u.test(image)) return "names are made of the ASCII letters, digits and '_'";
  if (/^\p{Zs}/u.test(image)) return "write a plain space";
  if (/^[\u2013\u2014\u2212]/.test(image)) return "write '-'";
  return undefined;
}

function codePoint(image: string): string {
  const code = image.codePointAt(0) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

function clip(image: string): string {
  return image.length > 40 ? `${image.slice(0, 40)}...` : image;
}
