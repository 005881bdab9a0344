/**
 * Chevrotain, from the one file that its package brings beside its many: those and lodash's, 700 in all, take half
 * a second of processor time to load, the one a tenth. Where there is no such file, the package as usual.
 */

import type * as Chevrotain from "chevrotain";

async function load(): Promise<typeof Chevrotain> {
  try {
    const bundle = new URL("../chevrotain.mjs", import.meta.resolve("chevrotain")).href;
    return (await import(bundle)) as typeof Chevrotain;
  } catch {
    // A bundler or a browser: the package is then in a few files already.
    return await import("chevrotain");
  }
}

const chevrotain = await load();

export type {
  IParserErrorMessageProvider,
  IRecognitionException,
  IToken,
  ParserMethod,
  TokenType,
} from "chevrotain";

export const createToken: typeof Chevrotain.createToken = chevrotain.createToken;
export const EmbeddedActionsParser: typeof Chevrotain.EmbeddedActionsParser =
  chevrotain.EmbeddedActionsParser;
export const EOF: typeof Chevrotain.EOF = chevrotain.EOF;
export const isRecognitionException: typeof Chevrotain.isRecognitionException =
  chevrotain.isRecognitionException;
export const Lexer: typeof Chevrotain.Lexer = chevrotain.Lexer;
