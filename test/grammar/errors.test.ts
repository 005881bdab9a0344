import { describe, expect, test } from "vitest";
import { parse, type SyntaxErrorCode, syntaxErrors } from "../../grammar/index.ts";
import { showErrors } from "./show.ts";

const read = (text: string): string[] => showErrors(text, parse(text).errors);

/** Each code with texts that give it, and all that is said about them. */
const cases: Readonly<Record<SyntaxErrorCode, readonly (readonly [string, readonly string[]])[]>> = {
  WF1001: [
    [
      "fn f() {\n  let a = (b\n  let c = [d\n  a\n}",
      [
        "2:11 WF1001: I expected ')' to close the '(' opened here",
        "3:11 WF1001: I expected ']' to close the '[' opened here",
      ],
    ],
    ["const a = f(b[i)", ["1:14 WF1001: I expected ']' to close the '[' opened here"]],
    ["const a = f(b]", ["1:12 WF1001: I expected ')' to close the '(' opened here, but I found ']'"]],
    [
      "fn f(x: f32[N -> f32[N] { x }",
      [
        "1:5 WF1001: I expected ')' to close the '(' opened here",
        "1:12 WF1001: I expected ']' to close the '[' opened here",
      ],
    ],
    [
      "fn f() {\n  let a = 1\n  a\n\nfn g() { y }",
      ["1:8 WF1001: I expected '}' to close the '{' opened here"],
    ],
    [
      "module M {\n  fn f() {\n    x\n  param p: f32\n}\ndim N",
      ["2:10 WF1001: I expected '}' to close the '{' opened here"],
    ],
    ["import std.nn { softmax", ["1:15 WF1001: I expected '}' to close the '{' opened here"]],
  ],
  WF1002: [
    [
      "const a = b]",
      ["1:12 WF1002: this ']' closes nothing | delete it, or open the bracket that it closes"],
    ],
    [
      "fn f() { x }\n}\ndim N",
      ["2:1 WF1002: this '}' closes nothing | delete it, or open the bracket that it closes"],
    ],
  ],
  WF1003: [
    [
      "const a = b && c || !d",
      [
        "1:13 WF1003: '&&' is not in the language | write 'and'",
        "1:18 WF1003: '||' is not in the language | write 'or'",
        "1:21 WF1003: '!' is not in the language | write 'not'",
      ],
    ],
    [
      "const naïve = 1",
      ["1:9 WF1003: I cannot read 'ï' here | names are made of the ASCII letters, digits and '_'"],
    ],
    ["const a = $", ["1:11 WF1003: I cannot read '$' here"]],
    ["const a = b − c", ["1:13 WF1003: I cannot read '−' here | write '-'"]],
    ["# comment\ndim N", ["1:1 WF1003: '#' is not in the language | a comment begins with '//'"]],
  ],
  WF1004: [
    [
      `const a = ${"(".repeat(300)}`,
      ["1:267 WF1004: brackets are nested more than 256 deep here | give the inner parts names with 'let'"],
    ],
    [
      `const a = ${"for i: ".repeat(300)}b`,
      [
        "1:1803 WF1004: expressions and types are nested more than 256 deep here | give the inner parts names with 'let'",
      ],
    ],
    [
      `const a = b${" + b".repeat(1200)}`,
      [
        "1:11 WF1004: this expression is a chain of more than 1000 operators | give the inner parts names with 'let'",
      ],
    ],
  ],
  WF1005: [
    [
      " ".repeat(3_000_000),
      [
        "1:1 WF1005: this file has 3000000 characters; I read at most 1048576 | split the file and import its parts",
      ],
    ],
    [
      `dim N\n//${"x".repeat(200_000)}`,
      [
        "2:1 WF1005: this line has more than 65536 characters, which is more than I read | a statement may continue on the next line after an operator, a comma, '=' or ':'",
      ],
    ],
  ],
  WF1006: [
    [
      "dim N // \u202e N mid\ndim\u0000 M",
      [
        "1:10 WF1006: this is U+202E, a character that cannot be seen, so the text may not be what it seems | delete it",
        "2:4 WF1006: this is U+0000, a character that cannot be seen, so the text may not be what it seems | delete it",
      ],
    ],
  ],
  WF1007: [['import "./a.dsl { A }\ndim N', ["1:8 WF1007: this text has no closing '\"' on its line"]]],
  WF1008: [
    ["const a =", ["1:10 WF1008: I expected an expression, but found the end of the file"]],
    ["fn f(x: f32[N], y f32) { x }", ["1:19 WF1008: I expected ':', but found 'f32'"]],
    [
      "fn f() {\n  return x\n}",
      [
        "2:10 WF1008: I expected the end of the statement, but found 'x' | the last expression of a body is its result: leave 'return' out",
      ],
    ],
    ["def f() { x }", ["1:1 WF1008: I expected a declaration, but found 'def' | write 'fn'"]],
    ["modul M { }", ["1:1 WF1008: I expected a declaration, but found 'modul' | did you mean 'module'?"]],
    [
      "param x: f32",
      [
        "1:1 WF1008: I expected a declaration, but found 'param' | 'param' stands in a module: 'module Name { param .. }'",
      ],
    ],
    [
      "let x = 1",
      [
        "1:1 WF1008: I expected a declaration, but found 'let' | outside functions write 'const' for a number, 'dim' for a size",
      ],
    ],
    [
      "const a = if b = c then d else e",
      ["1:16 WF1008: I expected 'then', but found '=' | '==' compares; 'let x = e' names a value"],
    ],
    [
      "const a = if b then c",
      [
        "1:22 WF1008: I expected 'else', but found the end of the file | an 'if' gives a value, so it says what it gives otherwise: 'if c then a else b'",
      ],
    ],
    [
      "const a = f(x, eps = 1)",
      ["1:20 WF1008: I expected ',' or ')', but found '=' | arguments are given by position; '==' compares"],
    ],
    [
      "const a = (b, c)",
      ["1:13 WF1008: I expected ',' or ')', but found ',' | a record names its fields: '(a: x, b: y)'"],
    ],
    [
      "const a = .5",
      ["1:11 WF1008: I expected an expression, but found '.' | write a digit before the point: '0.5'"],
    ],
    [
      "const a = x[k in T]",
      [
        "1:13 WF1008: 'in' gives a reduction's variable its range, and no '(' follows this bracket | write 'sum[k in T](..)' or 'for k in T: ..'",
      ],
    ],
    [
      "const a = f[S as T](x)",
      [
        "1:13 WF1008: a call names its axes; 'as' renames an axis of a tensor | rename the argument: 'f(x[S as T])'",
      ],
    ],
    [
      "const a = b + not c",
      [
        "1:15 WF1008: 'not' binds less tightly than the operator before it | put the 'not' and what it denies in parentheses",
      ],
    ],
    [
      "module M {\n  parm x: f32\n}",
      [
        "2:3 WF1008: I expected 'param', 'state', 'const', 'fn' or 'derive', but found 'parm' | did you mean 'param'?",
      ],
    ],
    [
      "derive g from f by r { w inot q }",
      ["1:26 WF1008: I expected 'into' or 'after', but found 'inot' | did you mean 'into'?"],
    ],
  ],
  WF1009: [
    [
      "fn f() {\n  let in = 3\n  x\n}",
      ["2:7 WF1009: 'in' is a reserved word, so it cannot be a name | call it 'in_', or something else"],
    ],
    [
      "fn f(f32: f32) { x }",
      ["1:6 WF1009: 'f32' is a dtype, so it cannot be a name | call it 'f32_', or something else"],
    ],
  ],
  WF1010: [
    [
      "fn f() {\n  let a = b\n    + c\n  a\n}",
      [
        "3:5 WF1010: the line before ended its statement, so '+' has nothing to its left | put '+' at the end of the line before, or the whole in parentheses",
      ],
    ],
  ],
  WF1011: [
    ["dim n", ["1:5 WF1011: 'n' names a dim, a type or a module, so it begins with a capital | call it 'N'"]],
    [
      "fn Relu(x: f32) { for I: x[I] }",
      [
        "1:4 WF1011: 'Relu' names a value, so it begins with a small letter | call it 'relu'",
        "1:23 WF1011: 'I' names a value, so it begins with a small letter | call it 'i'",
      ],
    ],
  ],
  WF1012: [
    [
      "const a = b < c < d",
      ["1:17 WF1012: comparisons do not chain: '<' has given a bool already | write 'x < y and y < z'"],
    ],
  ],
  WF1013: [
    [
      "fn f() {\n  let a = b\n  - c\n  a\n}",
      [
        "3:3 WF1013: nothing uses the value of this line | if it goes on from the line before, put the '-' at the end of that line",
      ],
    ],
    [
      "fn f() {\n  a\n  b\n}",
      [
        "2:3 WF1013: nothing uses the value of this line | name it with 'let'; only the last expression of a body is its result",
      ],
    ],
  ],
  WF1014: [
    [
      "const a = 0x10 + 1_000 + 1.5f + 2.",
      [
        "1:11 WF1014: I cannot read '0x10' as a number | write '16'",
        "1:18 WF1014: I cannot read '1_000' as a number | write '1000'",
        "1:26 WF1014: I cannot read '1.5f' as a number | write '1.5': a literal takes the dtype that it meets",
        "1:33 WF1014: I cannot read '2.' as a number | write '2.0'",
      ],
    ],
  ],
};

describe.each(Object.entries(cases))("%s", (code, texts) => {
  test.each(texts.map(([text, errors]) => ({ text, errors })))("$text", ({ text, errors }) => {
    expect(read(text)).toEqual(errors);
    expect(errors.some((error) => error.includes(code))).toBe(true);
  });

  test("has a page", () => {
    const { title, page } = syntaxErrors[code as SyntaxErrorCode];
    expect(title).toMatch(/^[a-z]/);
    expect(page.length).toBeGreaterThan(80);
  });
});

describe("going on after a mistake", () => {
  test("several mistakes are all reported, one diagnostic each", () => {
    const text = `dim n, B
module M<W: weight> {
  param y W[B]
  fn f(x: f32[B C], y: f32) -> f32[ {
    let q = x
      + y
    let p = g(x, y = 3)
    let r =
    let s = h(]
    q
  }
  fn g(x: f32[B]) -> f32[B] { x }
}
cosnt a = 3
fn last() { y }`;
    expect(read(text).map((error) => error.slice(0, error.indexOf(": ")))).toEqual([
      "1:5 WF1011",
      "3:11 WF1008",
      "4:17 WF1008",
      "4:35 WF1001",
      "6:7 WF1010",
      "7:20 WF1008",
      "9:5 WF1008",
      "9:14 WF1001",
      "14:1 WF1008",
    ]);
    const { file } = parse(text);
    expect(file.declarations.map((decl) => decl.kind)).toEqual(["dim", "module", "fn"]);
    const module = file.declarations[1];
    expect(module?.kind === "module" && module.members.map((member) => member.name.text)).toEqual([
      "y",
      "f",
      "g",
    ]);
  });

  test("a function keeps its name, its readable parameters and its body", () => {
    const [fn] = parse("fn f(a: f32[N], b: 3, c: i32) -> { let d = ; let e = a\n e }").file.declarations;
    if (fn?.kind !== "fn") throw new Error("no function");
    expect(fn.params.map((param) => `${param.name.text} ${param.type.kind}`)).toEqual([
      "a type",
      "b error-type",
      "c type",
    ]);
    expect(fn.result?.kind).toBe("error-type");
    expect(fn.body?.statements.map((each) => each.kind === "let" && each.pattern[0]?.text)).toEqual([
      "d",
      "e",
    ]);
  });

  test("at most 100 errors", () => {
    expect(parse("dim n\n".repeat(500)).errors).toHaveLength(100);
    expect(parse("]\n".repeat(500)).errors).toHaveLength(100);
    expect(parse("x y\n".repeat(500)).errors).toHaveLength(100);
  });
});
