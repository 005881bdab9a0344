/**
 * The WF1 family: every mistake that the grammar knows, with the page that `weft explain` prints.
 *
 * Messages are in the first person and use the reader's own words: the call site writes them, this table
 * says what holds in general. A retired number is never used again.
 */

import type { Span } from "./ast.ts";

export interface SyntaxError {
  readonly span: Span;
  readonly code: SyntaxErrorCode;
  readonly message: string;
  /** What to try, or undefined where nothing is likely. */
  readonly help: string | undefined;
}

export interface SyntaxErrorPage {
  /** A few words. */
  readonly title: string;
  /** A paragraph or more, with an example. */
  readonly page: string;
}

/** After this many errors the rest are nearly always echoes. */
export const maxErrors = 100;

const pages: Readonly<Record<SyntaxErrorCode, SyntaxErrorPage>> = {
  WF1001: {
    title: "unclosed bracket",
    page: `A bracket is opened and never closed. The error stands where it opens, since where it should close
is a guess. A '}' closes every '(' and '[' that is still open inside its braces, and so does 'let', 'fn',
'->', '{' or ';', which cannot stand in them: the rest of the file is read as usual.

    fn double(x: f32[N]) -> f32[N] {
      for n: (x[n] * 2        // the '(' has no ')'
    }

Close the bracket, or delete it.`,
  },
  WF1002: {
    title: "bracket that closes nothing",
    page: `A ')', ']' or '}' stands where no bracket of its kind is open.

    let y = x[n]]             // one ']' too many

Delete it, or open the bracket that it is to close.`,
  },
  WF1003: {
    title: "character that is not in the language",
    page: `The language is written in ASCII: names are letters, digits and '_', and the marks are
( ) [ ] { } < > = + - * / % ^ , : ; . @ | and those made of them. Comments may hold any text.

Operators of other languages are words here: 'and', 'or', 'not'. A value is never changed, so '+=' has no
meaning. A comment begins with '//' and ends with its line.`,
  },
  WF1004: {
    title: "nested too deep",
    page: `Brackets, 'for' and 'if' may stand 256 deep inside one another, and one expression may be a chain of
1000 operators. Programs do not come near either limit, so this text was most likely generated, or a bracket
is open by mistake.

Give inner parts names with 'let', and use 'sum[k](..)' for a long sum.`,
  },
  WF1005: {
    title: "file too large",
    page: `A file may have 1,048,576 characters and 400,000 words and marks, a line 65,536 characters. Beyond that
nothing is read. Split the file and 'import' its parts.`,
  },
  WF1006: {
    title: "character that cannot be seen",
    page: `Control characters, characters that turn the direction of writing, and characters of no width make
a text mean something else than it seems to, in comments too (the attack is called "Trojan Source"). Only tabs
and line ends may stand in a file. Delete the character; an editor that shows invisible characters finds it.`,
  },
  WF1007: {
    title: "text without an end",
    page: `A '"' opens a path, and no second '"' closes it on the same line.

    import "./blocks.dsl" { Mlp }`,
  },
  WF1008: {
    title: "something else was expected",
    page: `Up to this point the text could be read; the message says what may stand here, and what does.
The rest of the statement is passed over, and reading goes on with the next one.`,
  },
  WF1009: {
    title: "reserved word as a name",
    page: `The dtypes (f32 f16 bf16 e4m3 e5m2 i64 i32 u32 i8 u8 bool, and e5m6 and its like) and the words
fn let mut for in where as if then else and or not true false inf
mean something everywhere, so none of them can be a name. Any other word may be: 'module', 'state', 'sum'.`,
  },
  WF1010: {
    title: "line that begins with an operator",
    page: `A statement ends where its line ends, except inside () or [], or after an operator, a comma, '=' or
':'. So the operator that joins two lines ends the first one:

    let total = first +
      second

or the whole stands in parentheses:

    let total = (first
      + second)`,
  },
  WF1011: {
    title: "capital or small letter",
    page: `Dims, type parameters and modules begin with a capital; index variables, values and functions with a
small letter. So 'x[S]' and 'x[s]' are never mistaken for each other: S is a size, s counts up to it.`,
  },
  WF1012: {
    title: "chained comparison",
    page: `A comparison gives a bool, so 'a < b < c' would compare a bool with c. Write 'a < b and b < c'.`,
  },
  WF1013: {
    title: "statement without effect",
    page: `A body is 'let's and calls that change state, such as 'kv.append(x)', and then its result. A value on
a line of its own before the result is used by nothing.

Give it a name with 'let', or delete it. If it goes on from the line before, end that line with the operator.`,
  },
  WF1014: {
    title: "number that cannot be read",
    page: `An integer is digits: '128'. A float has digits on both sides of its point, or an exponent: '0.5',
'1.0', '1e-6', '2.5e3'. There are no suffixes and no other bases: the dtype that a literal meets is the one it
takes, and 'f16(0.1)' casts.`,
  },
};

export type SyntaxErrorCode =
  | "WF1001"
  | "WF1002"
  | "WF1003"
  | "WF1004"
  | "WF1005"
  | "WF1006"
  | "WF1007"
  | "WF1008"
  | "WF1009"
  | "WF1010"
  | "WF1011"
  | "WF1012"
  | "WF1013"
  | "WF1014";

export const syntaxErrors: Readonly<Record<SyntaxErrorCode, SyntaxErrorPage>> = pages;
