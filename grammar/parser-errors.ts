/** What the parser's exceptions become. */

import { EOF, type IParserErrorMessageProvider, type IRecognitionException, type IToken } from "chevrotain";
import type { SyntaxError } from "./errors.ts";
import { endOf } from "./layout-lines.ts";
import { End } from "./tokens.ts";

/** Says only what was expected; `explain` makes the sentence. */
export const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => expected.LABEL ?? expected.name,
  buildNotAllInputParsedMessage: () => "a declaration",
  buildNoViableAltMessage: ({ customUserDescription, ruleName }) => customUserDescription ?? ruleName,
  buildEarlyExitMessage: ({ customUserDescription, ruleName }) => customUserDescription ?? ruleName,
};

export function explain(error: IRecognitionException, text: string): SyntaxError {
  const token = error.token;
  const end = token.tokenType === EOF;
  const start = end ? text.length : token.startOffset;
  return {
    span: { start, end: end ? start : endOf(token) },
    code: "WF1008",
    message: `I expected ${error.message}, but found ${describe(token)}`,
    help: undefined,
  };
}

export function describe(token: IToken): string {
  if (token.tokenType === EOF) return "the end of the file";
  if (token.tokenType === End && token.image === "") return "the end of the line";
  return `'${token.image}'`;
}
