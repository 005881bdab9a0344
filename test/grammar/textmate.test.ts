import { expect, test } from "vitest";
import { textMateGrammar } from "../../grammar/textmate.ts";
import {
  customFloats,
  dtypes,
  keyword,
  punctuation,
  reservedWords,
  softKeywords,
} from "../../grammar/tokens.ts";

test("the editor grammar is what the token tables give", async () => {
  await expect(textMateGrammar()).toMatchFileSnapshot("../../grammar/weft.tmLanguage.json");
});

test("every word and mark of the language has a scope", () => {
  const { patterns } = JSON.parse(textMateGrammar()) as { patterns: { match: string }[] };
  for (const text of [...dtypes, ...customFloats, ...reservedWords, ...softKeywords, ...punctuation]) {
    expect(keyword(text).name).toBeTruthy();
    expect(
      patterns.some(({ match }) => new RegExp(match).test(text)),
      text,
    ).toBe(true);
  }
});
