/** Bad and enormous input: a diagnostic within 2 s, never an exception. */
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { resolvePath } from "../../compiler/check/files.ts";
import { renderDiagnostics } from "../../compiler/diagnostics/render.ts";
import { check } from "./host.ts";

function timed(text: string, files: Record<string, string> = {}): readonly string[] {
  // Our own work, whoever else is on the machine.
  const before = process.cpuUsage();
  const { diagnostics, program } = check(text, files);
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(2);
  expect((program === undefined) === diagnostics.some((d) => d.severity === "error")).toBe(true);
  return diagnostics.map((d) => d.code);
}

const chain = (n: number, body: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => body(i)).join("\n");

describe("size", () => {
  test("thousands of functions, in a chain of calls", () => {
    expect(
      timed(
        `fn g0(x: f32[N]) -> f32[N] { x }\n${chain(3000, (i) => `fn g${i + 1}(x: f32[N]) -> f32[N] { g${i}(x) }`)}`,
      ),
    ).toEqual([]);
  });

  test("the same chain declared callers first", () => {
    const fns = Array.from(
      { length: 3000 },
      (_, i) => `fn g${i + 1}(x: f32[N]) -> f32[N] { g${i}(x) }`,
    ).reverse();
    expect(timed(`${fns.join("\n")}\nfn g0(x: f32[N]) -> f32[N] { x }`)).toEqual([]);
  });

  test("a circle of 3000 functions is one diagnostic", () => {
    expect(timed(chain(3000, (i) => `fn g${i}(x: f32[N]) -> f32[N] { g${(i + 1) % 3000}(x) }`))).toEqual([
      "WF2022",
    ]);
  });

  test("calls that double: 2^60 instances, none made", () => {
    expect(
      timed(
        `fn g0<A: float>(x: A[N]) -> A[N] { x }\n${chain(60, (i) => `fn g${i + 1}<A: float>(x: A[N]) -> A[N] { g${i}(g${i}(x)) }`)}`,
      ),
    ).toEqual([]);
  });

  test("sizes that double at each call overflow", () => {
    const text = `fn twice(x: f32[N]) -> f32[2 * N] { for i in 2 * N: 0.0 }\nfn f(x: f32[N]) -> f32[N] {\n  let a0 = x\n${chain(80, (i) => `  let a${i + 1} = twice(a${i})`)}\n  x\n}`;
    expect(new Set(timed(text))).toEqual(new Set(["WF2033"]));
  });

  test("sizes that square at each call grow too large", () => {
    const text = `fn square(x: f32[N]) -> f32[N * N + N] { for i in N * N + N: 0.0 }\nfn f(x: f32[N]) -> f32[N] {\n  let a0 = x\n${chain(20, (i) => `  let a${i + 1} = square(a${i})`)}\n  x\n}`;
    expect(new Set(timed(text))).toEqual(new Set(["WF2033"]));
  });

  test("consts that double are cut off", () => {
    const codes = timed(
      `const c0 = 1.5\n${chain(60, (i) => `const c${i + 1} = c${i} + c${i}`)}\nfn f(x: f32[N]) -> f32[N] { x * c60 }`,
    );
    expect(new Set(codes)).toEqual(new Set(["WF2040"]));
  });

  test("consts in a circle", () => {
    expect(timed("const a = b\nconst b = a\nfn f(x: f32) -> f32 { x * a }")).toEqual(["WF2022"]);
  });

  test("deep nesting", () => {
    const deep = (n: number): string =>
      `fn f(x: f32[N]) -> f32[N] { for n in N: ${"(".repeat(n)}x[n]${")".repeat(n)} }`;
    expect(timed(deep(200))).toEqual([]);
    expect(timed(deep(5000))[0]).toMatch(/^WF1/);
  });

  test("nested loops, each inferring its range through the one inside", () => {
    let e = "x[j0]";
    for (let i = 0; i < 60; i += 1) e = `(for j${i}: ${e})[j${i + 1}]`;
    expect(timed(`fn f(x: f32[N]) -> f32[N] { for j60: ${e} }`)).toEqual([]);
  });

  test("a long chain of operators", () => {
    expect(timed(`fn f(x: f32[N]) -> f32[N] { for n: x[n]${" + x[n]".repeat(900)} }`)).toEqual([]);
  });

  test("a long chain of whole-tensor operators", () => {
    expect(timed(`fn f(x: f32[N]) -> f32[N] { x${" + x".repeat(300)} }`)).toEqual([]);
  });

  test("10,000 lets and 10,000 dims", () => {
    expect(
      timed(
        `dim ${Array.from({ length: 10_000 }, (_, i) => `D${i}`).join(", ")}\nfn f(x: f32[D1]) -> f32[D1] { x }`,
      ),
    ).toEqual([]);
    expect(
      timed(
        `fn f(x: f32[N]) -> f32[N] {\n${chain(3000, (i) => `  let a${i} = ${i === 0 ? "x" : `a${i - 1}`} * 2.0`)}\n  a2999\n}`,
      ),
    ).toEqual([]);
  });

  test("thousands of unknown names beside thousands of known ones", () => {
    const hundred = (code: string): readonly string[] => Array.from({ length: 100 }, () => code);
    const lets = chain(20_000, (i) => `let a${i} = zz${i}`);
    expect(timed(`fn f(x: f32[N]) -> f32[N] {\n${lets}\nx\n}`)).toEqual(hundred("WF2001"));
    const calls = chain(8000, (i) => `fn g_${i}(x: f32[N]) -> f32[N] { h_${i}(x) }`);
    expect(timed(calls)).toEqual(hundred("WF2001"));
    const types = chain(8000, (i) => `fn g_${i}(x: A${i}[N]) -> f32[N] { x }`);
    expect(timed(types)).toEqual(hundred("WF2003"));
    const dims = Array.from({ length: 5000 }, (_, i) => `D${i}`).join(", ");
    const ranges = chain(5000, (i) => `fn g_${i}(x: f32[N]) -> f32[1] { for n in Q${i}: 0.0 }`);
    expect(timed(`dim ${dims}\n${ranges}`)).toEqual(hundred("WF2002"));
  });

  test("18,000 functions", () => {
    expect(timed(chain(18_000, (i) => `fn g_${i}(x: f32[N]) -> f32[N] { x }`))).toEqual([]);
  });

  test("hundreds of facts about sizes", () => {
    const facts = chain(
      400,
      (i) => `dim D${i} where D${i} % ${(i % 7) + 2} == 0, D${i} <= D${(i + 1) % 400} * D${(i + 3) % 400}`,
    );
    expect(timed(`${facts}\nfn f(x: f32[D1 * D2]) -> f32[D2, D1] { x as [D2, D1] }`)).toEqual([]);
  });

  test("a hundred errors are enough", () => {
    expect(
      timed(`fn f(x: f32[N]) -> f32[N] {\n${chain(500, (i) => `  let a${i} = y${i}`)}\n  x\n}`),
    ).toHaveLength(100);
  });

  test("more files than a program may have", () => {
    const files = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [
        `f${i}.dsl`,
        `import "./f${i + 1}.dsl" { a${i + 1} }\nfn a${i}(x: f32) -> f32 { x }\n`,
      ]),
    );
    expect(timed('import "./f0.dsl" { a0 }\n', files)[0]).toBe("WF2010");
  });

  test("256 files that all import one another in layers", () => {
    const files = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [
        `f${i}.dsl`,
        Array.from(
          { length: Math.min(i, 12) },
          (__, k) => `import "./f${i - 1 - k}.dsl" { a${i - 1 - k} }`,
        ).join("\n") + `\nfn a${i}(x: f32) -> f32 { x }\n`,
      ]),
    );
    expect(timed('import "./f199.dsl" { a199 }\n', files)).toEqual([]);
  });
});

describe("paths", () => {
  test.each([
    "../x.dsl",
    "/etc/passwd",
    "a/../../x.dsl",
    "https://h/x.dsl",
    "file:///x",
    "C:\\x.dsl",
    "..\\x.dsl",
    "a\\..\\..\\x",
    "%2e%2e/x.dsl",
    "x\0.dsl",
    "//h/x",
  ])("%j stays out", (path) => {
    expect(resolvePath("main.dsl", path)).toBe("outside");
  });

  test.each([
    ["main.dsl", "./x.dsl", "x.dsl"],
    ["a/b/main.dsl", "../x.dsl", "a/x.dsl"],
    ["a/main.dsl", "./b//c/./x.dsl", "a/b/c/x.dsl"],
    ["/p/q/main.dsl", "../x.dsl", "/p/x.dsl"],
  ])("from %s, %s is %s", (from, path, to) => {
    expect(resolvePath(from, path)).toBe(to);
  });
});

describe("nonsense", () => {
  const contract = ["mla", "moe", "attention", "dualpipe", "fp8_linear"].map((name) =>
    readFileSync(new URL(`../contract/${name}.dsl`, import.meta.url), "utf8"),
  );

  test("a program cut anywhere, with a word or sign changed, is diagnosed", () => {
    const words = contract.flatMap((text) => text.match(/\w+|[^\s\w]/g) ?? []);
    fc.assert(
      fc.property(
        fc.constantFrom(...contract),
        fc.nat(),
        fc.nat(),
        fc.constantFrom(...words),
        fc.boolean(),
        (text, at, span, word, cut) => {
          const parts = text.split(/(\w+|[^\s\w])/);
          const i = at % parts.length;
          const changed = cut
            ? parts.slice(0, i)
            : [...parts.slice(0, i), word, ...parts.slice(i + (span % 3))];
          const source = changed.join("");
          const { diagnostics, program } = check(source);
          expect(program === undefined).toBe(diagnostics.some((d) => d.severity === "error"));
          const shown = renderDiagnostics(diagnostics, {
            colour: false,
            sources: new Map([["test.dsl", source]]),
          });
          expect(shown).not.toMatch(/undefined|\[object|NaN|WF\d+\]: *\n/);
        },
      ),
      { numRuns: 300 },
    );
  }, 60_000);

  test("words in any order never throw", () => {
    const words = [
      ..."dim N fn f x : f32 [ ] ( ) { } -> for n in sum [ k ] where % == 0 else as let = import module param state mut kv Paged < > @ 1 0.5 ... + * split topk dispatch".split(
        " ",
      ),
      "\n",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 60 }), (list) => {
        check(list.join(" "));
      }),
      { numRuns: 400 },
    );
  }, 60_000);
});
