/**
 * Every token of the language, once. The lexer, the parser, the formatter and the editor grammar read
 * these tables.
 *
 * The lexer proper knows one kind of word. `wordType` then tells names, dtypes, reserved words and
 * soft keywords apart; a soft keyword is a name wherever a name is expected.
 */

import { createToken, Lexer, type TokenType } from "./chevrotain.ts";

export const dtypes: readonly string[] = "f32 f16 bf16 e4m3 e5m2 i64 i32 u32 i8 u8 bool".split(" ");

/** Floats by their bits, 9 to 15 with the sign's: e5m6 has 5 bits of exponent and 6 of mantissa. */
export const customFloats: readonly string[] = [
  ["e4", "4 5 6 7 8 9 10"],
  ["e5", "3 4 5 6 7 8 9"],
  ["e6", "2 3 4 5 6 7"],
  ["e7", "1 2 3 4 5 6 7"],
  ["e8", "1 2 3 4 5 6"],
].flatMap(([exponent = "", mantissas = ""]) => mantissas.split(" ").map((bits) => `${exponent}m${bits}`));

export const reservedWords: readonly string[] =
  "fn let mut for in where as if then else and or not true false inf".split(" ");

/** Words that begin or join the parts of a declaration, and are names everywhere else. */
export const softKeywords: readonly string[] = (
  "import dim mesh const module param state derive from by into after numerics contract accumulate every " +
  "bound schedule on pipeline rank direction stage phase overlap kernel implements"
).split(" ");

/** Longer ones first, where one begins another. */
export const punctuation: readonly string[] = [
  "...",
  "->",
  "==",
  "!=",
  "<=",
  ">=",
  "(",
  ")",
  "[",
  "]",
  "{",
  "}",
  "<",
  ">",
  "=",
  "+",
  "-",
  "*",
  "/",
  "%",
  "^",
  ",",
  ":",
  ";",
  ".",
  "@",
  "|",
];

/** What stands between two operands. `as` is not here: it has axes to its right. */
const infixTexts = new Set("+ - * / % ^ == != < <= > >= and or where".split(" "));
export const Infix: TokenType = createToken({ name: "Infix", label: "an operator", pattern: Lexer.NA });
const categories = (text: string): TokenType[] => (infixTexts.has(text) ? [Infix] : []);

// ---------------------------------------------------------------- words

const quoted = (text: string): string => `'${text}'`;

export const Name: TokenType = createToken({
  name: "Name",
  label: "a name",
  pattern: /[A-Za-z_][A-Za-z0-9_]*/,
});
export const Dtype: TokenType = createToken({ name: "Dtype", label: "a dtype", pattern: Lexer.NA });

const words = new Map<string, TokenType>([...dtypes, ...customFloats].map((text) => [text, Dtype]));
for (const text of reservedWords) {
  words.set(
    text,
    createToken({
      name: `word ${text}`,
      label: quoted(text),
      pattern: Lexer.NA,
      categories: categories(text),
    }),
  );
}
for (const text of softKeywords) {
  words.set(
    text,
    createToken({ name: `soft ${text}`, label: quoted(text), pattern: Lexer.NA, categories: Name }),
  );
}

/** The token type of a word as it is spelt. */
export function wordType(text: string): TokenType {
  return words.get(text) ?? Name;
}

// ---------------------------------------------------------------- marks

const marks = new Map<string, TokenType>(
  punctuation.map((text) => [
    text,
    createToken({
      name: `mark ${text}`,
      label: text === ";" ? "the end of the statement" : quoted(text),
      pattern: text,
      categories: categories(text),
    }),
  ]),
);

/** The token type of a word or mark that the language gives a meaning. */
export function keyword(text: string): TokenType {
  const type = words.get(text) ?? marks.get(text);
  if (type === undefined) throw new Error(`'${text}' is not in the token tables`);
  return type;
}

// ---------------------------------------------------------------- literals

export const BadNumber: TokenType = createToken({
  name: "BadNumber",
  pattern: /[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?:[A-Za-z_][A-Za-z0-9_]*|\.(?!\.))/,
});
export const Float: TokenType = createToken({
  name: "Float",
  label: "a number",
  longer_alt: BadNumber,
  pattern: /[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)/,
});
export const Int: TokenType = createToken({
  name: "Int",
  label: "an integer",
  pattern: /[0-9]+/,
  longer_alt: BadNumber,
});
export const Text: TokenType = createToken({
  name: "Text",
  label: "a path in quotes",
  pattern: /"[^"\n\r]*"/,
});

// ---------------------------------------------------------------- trivia and mistakes

export const Space: TokenType = createToken({ name: "Space", pattern: /[ \t\r\n]+/, group: Lexer.SKIPPED });
export const Note: TokenType = createToken({ name: "Note", pattern: /\/\/[^\n\r]*/, group: "notes" });

export const OpenText: TokenType = createToken({ name: "OpenText", pattern: /"[^"\n\r]*/ });
/** Operators of other languages, each one mistake and not two. */
export const Foreign: TokenType = createToken({
  name: "Foreign",
  pattern: /&&?|\|\||!(?!=)|\*\*|\/\*|\*\/|[+*]=|::|=>|#/,
  start_chars_hint: ["&", "|", "!", "*", "/", "+", ":", "=", "#"],
});

/** First characters of whatever no other token begins with: one for each of Chevrotain's buckets. */
function otherFirstCharacters(): number[] {
  const codes = Array.from({ length: 256 }, (_, code) => code);
  for (let code = 256; code < 65536; code += 255) codes.push(code);
  return [...codes, 65535];
}

export const Bad: TokenType = createToken({
  name: "Bad",
  pattern: /[^ \t\r\nA-Za-z0-9_"/()[\]{}<>=!+\-*%^,.:;@|&#]+/,
  start_chars_hint: otherFirstCharacters(),
});

// ---------------------------------------------------------------- put in by the layout

/** The end of a statement: a `;`, or a line end where it counts. */
export const End: TokenType = keyword(";");
/** Stands for what could not be read and was reported; parses as an expression. */
export const Hole: TokenType = createToken({ name: "Hole", label: "something", pattern: Lexer.NA });

export const lexerTokens: readonly TokenType[] = [
  Space,
  Note,
  Name,
  Float,
  Int,
  BadNumber,
  Text,
  OpenText,
  Foreign,
  ...marks.values(),
  Bad,
];

export const parserTokens: readonly TokenType[] = [
  Infix,
  Name,
  ...new Set(words.values()),
  Float,
  Int,
  Text,
  ...marks.values(),
  Hole,
];
