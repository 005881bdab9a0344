import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { format } from "../../grammar/format.ts";
import { parse } from "../../grammar/index.ts";
import { limits } from "../../grammar/limits.ts";

const folder = fileURLToPath(new URL("../contract/", import.meta.url));
const contract = readdirSync(folder)
  .filter((name) => name.endsWith(".dsl"))
  .map((name) => readFileSync(folder + name, "utf8"));
const [attention = ""] = contract;
const inFn = (body: string): string => `fn f(x: f32[N]) -> f32[N] {\n  ${body}\n}\nfn g() { y }\n`;
const fill = (line: string): string => line.repeat(Math.floor((limits.file - 100) / line.length));

let seed = 1;
const random = (): number => {
  seed = (seed * 1103515245 + 12345) & 0x7fffffff;
  return seed >> 8;
};
const noise = (from: number, count: number): string =>
  Array.from({ length: limits.file - 1 }, (_, i) =>
    i % 70 === 0 ? "\n" : String.fromCharCode(from + (random() % count)),
  ).join("");

vi.setConfig({ testTimeout: 60_000 });

/** Seconds of our own work, whoever else is on the machine. */
function seconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1e6;
}

describe("hostile texts are read in time, with an error and without an exception", () => {
  test.each<[string, () => string]>([
    ["10 MB", () => attention.repeat(10_000)],
    ["100,000 '('", () => inFn("(".repeat(30_000) + "\n(".repeat(70_000))],
    ["100,000 '(' and ')'", () => inFn(`${"(\n".repeat(100_000)}x${")\n".repeat(100_000)}`)],
    ["100,000 'x['", () => inFn(`${"x[\n".repeat(100_000)}1`)],
    ["100,000 '{'", () => "{\n".repeat(100_000)],
    ["100,000 modules in one another", () => "module A {\n".repeat(100_000)],
    ["30,000 '-'", () => inFn(`${"-".repeat(30_000)}x`)],
    ["16,000 'not'", () => inFn(`${"not ".repeat(16_000)}x`)],
    ["100,000 'for'", () => inFn(`${"for i:\n".repeat(100_000)}x`)],
    ["100,000 'if'", () => inFn(`${"if a then\n".repeat(100_000)}x`)],
    ["100,000 'else if'", () => inFn(`${"if a then b else\n".repeat(100_000)}x`)],
    ["100,000 '+'", () => inFn(`${"a +\n".repeat(100_000)}a`)],
    ["100,000 'where'", () => inFn(`${"a where\n".repeat(100_000)}a`)],
    ["30,000 fields", () => inFn(`a${".b".repeat(30_000)}`)],
    ["10,000 reads with a default", () => inFn(`${"x[i] else ".repeat(6_000)}b`)],
    ["reads with a default in ifs", () => inFn(`${"if a then x[i] else\n".repeat(100_000)}b`)],
    ["30,000 type arguments", () => `fn f(x: ${"A<".repeat(30_000)}${">".repeat(30_000)})`],
    ["100,000 record types", () => `fn f(x: ${"(a:\n".repeat(100_000)})`],
    ["one long line", () => `const a = ${"x".repeat(1_000_000)}`],
    ["';' alone", () => fill(";\n")],
    ["',' alone", () => fill(",,,,,,,,,,\n")],
    ["'}' alone", () => fill("}\n")],
    ["open quotes", () => fill('"\n')],
    ["letters that are not ASCII", () => fill("é ü\n")],
    ["control characters", () => fill("\u0001a\n")],
    ["bidirectional marks in comments", () => fill("// \u202e\n")],
    ["words that are no declaration", () => fill("a b c d e f g\n")],
    ["functions left open", () => fill("fn f(\n")],
    ["small dims", () => fill("dim n\n")],
    ["lets without values", () => inFn(fill("let a = \n").slice(0, 1_000_000))],
    ["brackets that do not match", () => fill("([)]}{\n")],
    ["binary noise", () => noise(0, 256)],
    ["noise of words", () => noise(32, 95)],
    ["half surrogates", () => fill("\ud800\ud800\n")],
    ["a long integer", () => `const a = ${"9".repeat(60_000)}\nconst b =`],
  ])("%s", (_, make) => {
    const text = make();
    let errors: readonly unknown[] = [];
    expect(seconds(() => ({ errors } = parse(text)))).toBeLessThan(2);
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.length).toBeLessThanOrEqual(100);
  });

  test("a correct file as large as may be", () => {
    const text = fill(attention);
    expect(seconds(() => expect(parse(text).errors).toEqual([]))).toBeLessThan(3);
  });
});

describe("nesting up to the limit is read, and formats", () => {
  const depth = limits.nesting - 2;
  test.each([
    ["parentheses", `${"(".repeat(depth)}x${")".repeat(depth)}`],
    ["indices", `${"x[".repeat(depth)}i${"]".repeat(depth)}`],
    ["calls", `${"f(".repeat(depth)}x${")".repeat(depth)}`],
    ["reductions", `${"sum[k](".repeat(depth)}x${")".repeat(depth)}`],
    ["dims of calls", `${"f[".repeat(depth)}N${"](x)".repeat(depth)}`],
    ["records", `${"(a: ".repeat(depth)}x${")".repeat(depth)}`],
    ["loops", `${"for i: ".repeat(depth)}x`],
    ["choices", `${"if c then a else ".repeat(depth)}x`],
    ["operators", `x${" + x".repeat(limits.chain - 10)}`],
    ["fields", `x${".x".repeat(limits.chain - 10)}`],
    ["minuses", `${"- ".repeat(limits.chain - 10)}x`],
  ])("%s", (_, expression) => {
    const text = `fn f() { ${expression} }`;
    expect(parse(text).errors).toEqual([]);
    const { text: formatted } = format(text);
    expect(format(formatted).text).toBe(formatted);
  });
});

describe("broken programs", () => {
  const anyProgram = fc.constantFrom(...contract);
  const never = (text: string): void => {
    const { file, errors } = parse(text);
    expect(file.kind).toBe("file");
    for (const { span } of errors) {
      expect(span.start).toBeGreaterThanOrEqual(0);
      expect(span.end).toBeGreaterThanOrEqual(span.start);
      expect(span.end).toBeLessThanOrEqual(text.length);
    }
    format(text);
  };

  test("cut anywhere", () => {
    fc.assert(
      fc.property(anyProgram, fc.nat(), (text, at) => never(text.slice(0, at % text.length))),
      { numRuns: 200 },
    );
  });

  test("with a piece left out, doubled or replaced", () => {
    const piece = fc.constantFrom(
      "",
      "(",
      ")",
      "[",
      "]",
      "{",
      "}",
      "<",
      "=",
      ",",
      ":",
      ";",
      "\n",
      "let ",
      "fn ",
      "else ",
      "\u202e",
      "é",
      '"',
      "///",
      "..",
      "9",
      "module A {",
      "if ",
    );
    fc.assert(
      fc.property(anyProgram, fc.nat(), fc.nat(12), piece, (text, place, length, put) => {
        const at = place % text.length;
        never(text.slice(0, at) + put + text.slice(at + length));
      }),
      { numRuns: 300 },
    );
  });

  test("of any characters", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), never));
    const part = fc.constantFrom(
      ..."( ) [ ] { } < > = + - , : ; . ... -> @ | fn let for in if then else where as a N f32 1 \n".split(
        " ",
      ),
      "\n",
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 60 }), (parts) => never(parts.join(" "))),
      { numRuns: 500 },
    );
  });

  test("names of JavaScript's own", () => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(
        parse(`fn ${name}(${name}: f32) -> f32 { let ${name} = ${name}.${name}; ${name} }`).errors,
      ).toEqual([]);
    }
  });
});

test("a parser whose stack ran out reads the next file", () => {
  const nested = `const a = ${"(".repeat(200)}b${")".repeat(200)}`;
  const deep = (n: number): number => {
    try {
      return deep(n + 1);
    } catch {
      return parse(nested).errors.length;
    }
  };
  expect(deep(0)).toBeLessThanOrEqual(1);
  expect(parse(nested).errors).toEqual([]);
});
