/**
 * The editor grammar, made from the token tables. `weft.tmLanguage.json` is what this gives: a test says
 * when it no longer is, and `vitest run test/grammar -u` writes it again.
 */

import { customFloats, dtypes, punctuation, reservedWords, softKeywords } from "./tokens.ts";

const word = (words: readonly string[]): string => `\\b(?:${words.join("|")})\\b`;
const constants = ["true", "false", "inf"];
const operators = ["and", "or", "not", "as", "where", "in"];
const reductions = "sum prod max min any all mean argmax logsumexp".split(" ");
const declarations = softKeywords.filter(
  (text) => !["by", "into", "after", "from", "on", "every", "stage"].includes(text),
);

/** A soft keyword counts only where a line, a block or a clause begins with it. */
const starts = (words: readonly string[]): string =>
  `(?:^|(?<=[{;]))\\s*(${words.join("|")})\\b(?=\\s+[A-Za-z_"]|\\s*:)`;

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

const rules: readonly object[] = [
  { name: "comment.block.documentation.weft", match: "///(?!/).*$" },
  { name: "comment.line.double-slash.weft", match: "//.*$" },
  { name: "string.quoted.double.weft", match: '"[^"\\n\\r]*"' },
  {
    match: "\\b(fn|kernel|derive)\\s+([A-Za-z_]\\w*)",
    captures: { 1: { name: "keyword.declaration.weft" }, 2: { name: "entity.name.function.weft" } },
  },
  {
    match: "\\b(module|pipeline)\\s+([A-Za-z_]\\w*)",
    captures: { 1: { name: "keyword.declaration.weft" }, 2: { name: "entity.name.type.weft" } },
  },
  { match: starts(declarations), captures: { 1: { name: "keyword.declaration.weft" } } },
  {
    match: "\\b(from)\\s+\\w+\\s+(by)\\b",
    captures: { 1: { name: "keyword.other.weft" }, 2: { name: "keyword.other.weft" } },
  },
  {
    match: "(?<=\\w)\\s+(into|after|implements|on|every|stage)\\s+(?=\\w)",
    captures: { 1: { name: "keyword.other.weft" } },
  },
  { name: "storage.type.weft", match: word([...dtypes, ...customFloats]) },
  { name: "constant.language.weft", match: word(constants) },
  { name: "keyword.operator.word.weft", match: word(operators) },
  {
    name: "keyword.control.weft",
    match: word(reservedWords.filter((text) => !constants.includes(text) && !operators.includes(text))),
  },
  { name: "support.function.reduction.weft", match: `${word(reductions)}(?=\\[)` },
  {
    name: "constant.numeric.float.weft",
    match: "\\b[0-9]+(?:\\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)\\b",
  },
  { name: "constant.numeric.integer.weft", match: "\\b[0-9]+\\b" },
  { name: "variable.other.dim.weft", match: "\\b[A-Z]\\w*\\b" },
  { name: "entity.name.function.call.weft", match: "\\b[a-z_]\\w*(?=\\()" },
  { name: "variable.other.weft", match: "\\b[a-z_]\\w*\\b" },
  {
    name: "punctuation.weft",
    match: punctuation
      .filter((text) => "()[]{},:;.".includes(text) || text === "...")
      .map(escape)
      .join("|"),
  },
  {
    name: "keyword.operator.weft",
    match: punctuation
      .filter((text) => !"()[]{},:;.".includes(text) && text !== "...")
      .map(escape)
      .join("|"),
  },
];

export function textMateGrammar(): string {
  const grammar = {
    $schema: "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
    name: "Weft",
    scopeName: "source.weft",
    fileTypes: ["dsl"],
    patterns: rules,
  };
  return `${JSON.stringify(grammar, undefined, 2).replace(/\[\s+"dsl"\s+\]/, '["dsl"]')}\n`;
}
