import fc from "fast-check";
import * as prettier from "prettier";
import { describe, expect, test, vi } from "vitest";
import { format } from "../../grammar/format.ts";
import { parse } from "../../grammar/index.ts";
import * as plugin from "../../grammar/prettier.ts";
import { end, gap, marked, plain } from "./programs.ts";
import { bare, showErrors } from "./show.ts";

vi.setConfig({ testTimeout: 60_000 });

const lines = (...text: string[]): string => `${text.join("\n")}\n`;

describe("layout", () => {
  test.each([
    ["spaces", "dim   N,M ;dim  R [ E ]", lines("dim N, M", "dim R[E]")],
    ["at most one blank line", "\n\ndim N\n\n\n\ndim M\n\n", lines("dim N", "", "dim M")],
    [
      "commas after the last item go, where all fits",
      "import std.nn { a, b, }",
      lines("import std.nn { a, b }"),
    ],
    ["a block on one line stays there", "fn f(x:f32){x}", lines("fn f(x: f32) { x }")],
    [
      "a block with a line end opens up",
      "fn f(x: f32) {\nlet y = x; y}",
      lines("fn f(x: f32) {", "  let y = x", "  y", "}"),
    ],
    ["an empty block", "fn f() {\n\n}", lines("fn f() {}")],
    [
      "clauses of one line keep their ';'",
      "numerics M{bound:rel 2 ^ - 5;accumulate:f32}",
      lines("numerics M { bound: rel 2^-5; accumulate: f32 }"),
    ],
    [
      "columns of parameters, phases and comments",
      "module M<W: weight> {\n param a: W[N] // one\n param long: W[M] // two\n}",
      lines("module M<W: weight> {", "  param a:    W[N]  // one", "  param long: W[M]  // two", "}"),
    ],
    [
      "a long list has an item a line and a comma after the last",
      `const a = f(${"argument_name, ".repeat(8)}last)`,
      lines("const a = f(", ...Array.from({ length: 8 }, () => "  argument_name,"), "  last,", ")"),
    ],
    [
      "a long sum breaks after its operators",
      `const a = ${"argument_name + ".repeat(8)}last`,
      lines(
        "const a =",
        "  argument_name +",
        ...Array.from({ length: 7 }, () => "    argument_name +"),
        "    last",
      ),
    ],
    [
      "a long loop puts its body on the next line",
      `fn f() {\n  let y = for batch, query, head, key: scale * sum[d](q[batch, query, head, d] * k[batch, key, head, d]) + bias\n y\n}`,
      lines(
        "fn f() {",
        "  let y = for batch, query, head, key:",
        "    scale * sum[d](q[batch, query, head, d] * k[batch, key, head, d]) + bias",
        "  y",
        "}",
      ),
    ],
    [
      "a loop over a call that has no room on one line keeps the call's name beside it",
      "fn f() {\n  let y = for ..., i, c in 2: select(c == 0, p[..., i, 0] * cos(a[..., i]) - p[..., i, 1], p[..., i, 0] * sin(a[..., i]) + p[..., i, 1] * cos(a[..., i]))\n y\n}",
      lines(
        "fn f() {",
        "  let y = for ..., i, c in 2: select(",
        "    c == 0,",
        "    p[..., i, 0] * cos(a[..., i]) - p[..., i, 1],",
        "    p[..., i, 0] * sin(a[..., i]) + p[..., i, 1] * cos(a[..., i]),",
        "  )",
        "  y",
        "}",
      ),
    ],
  ])("%s", (_, text, expected) => expect(format(text)).toEqual({ text: expected, errors: [] }));

  test("a text with errors stays as it is", () => {
    const { text, errors } = format("dim   N,,");
    expect(text).toBe("dim   N,,");
    expect(errors).toHaveLength(1);
  });

  test("line ends of other systems, tabs and a byte order mark", () => {
    expect(format("\ufeffdim N\r\n\r\n\tdim M // c\r\n").text).toBe(lines("dim N", "", "dim M  // c"));
  });
});

describe("comments", () => {
  test("stay where they are: before, after, in lists, before a '}'", () => {
    const text = lines(
      "// first",
      "",
      "/// On f.",
      "fn f(",
      "  // on x",
      "  x: f32[N],  // after x",
      "  y: f32[N],",
      "  // last",
      ") -> f32[N] {  // at the brace",
      "  // before let",
      "  let z = g(",
      "    x,  // in a call",
      "    y,",
      "  )",
      "",
      "  // before the result",
      "  z  // the result",
      "  // before the end",
      "}",
      "",
      "// last of all",
    );
    expect(format(text).text).toBe(text);
  });

  test("stand apart from what they follow, in an expression below a phase's line too", () => {
    // A '/' with a comment right after it would be a '///'.
    const text = lines(
      "pipeline p[P, M] {",
      "  direction f:        stage for i: g(",
      "      i,   // first",
      "      P /  // by",
      "        M,",
      "    )",
      "  direction backward: stage",
      "}",
    );
    expect(format(text)).toEqual({ text, errors: [] });
  });
});

const words = (text: string): string[] => text.match(/\/\/.*|"[^"]*"|[^\s,;]/g) ?? [];

describe("any program", () => {
  test("parses, and formats to the same tree, once for all", () => {
    fc.assert(
      fc.property(marked, (program) => {
        const text = plain(program);
        const { file, errors } = parse(text);
        expect(showErrors(text, errors)).toEqual([]);
        const formatted = format(text).text;
        expect(bare(parse(formatted).file)).toEqual(bare(file));
        expect(format(formatted).text).toBe(formatted);
      }),
      { numRuns: 300 },
    );
  });

  test("has the same tree on lines broken wherever they may be, and at any width", () => {
    fc.assert(
      fc.property(
        marked,
        fc.infiniteStream(fc.boolean()),
        fc.integer({ min: 20, max: 120 }),
        (program, breaks, width) => {
          const broken = program
            .replaceAll(gap, () => (breaks.next().value === true ? "\n" : ""))
            .replaceAll(end, ";\n");
          const { file, errors } = parse(broken);
          expect(showErrors(broken, errors)).toEqual([]);
          expect(bare(file)).toEqual(bare(parse(plain(program)).file));
          const formatted = format(broken, width).text;
          expect(bare(parse(formatted).file)).toEqual(bare(file));
          expect(format(formatted, width).text).toBe(formatted);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("keeps every token and comment, in order", () => {
    fc.assert(
      fc.property(marked, fc.infiniteStream(fc.nat(5)), (program, places) => {
        let n = 0;
        const comment = (): string => {
          n += 1;
          const place = places.next().value;
          return place === 0
            ? ` // trailing ${n}\n`
            : place === 1
              ? `\n// own ${n}\n`
              : place === 2
                ? `\n\n// apart ${n}\n\n`
                : "";
        };
        const text = program.replaceAll(gap, comment).replaceAll(end, () => comment() || "\n");
        const { file, errors } = parse(text);
        expect(showErrors(text, errors)).toEqual([]);
        const formatted = format(text).text;
        expect(words(formatted)).toEqual(words(text));
        expect(bare(parse(formatted).file)).toEqual(bare(file));
        expect(format(formatted).text).toBe(formatted);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the Prettier plugin", () => {
  const run = (text: string, options: prettier.Options = {}): Promise<string> =>
    prettier.format(text, { parser: "weft", plugins: [plugin as prettier.Plugin], ...options });

  test("writes what we write", async () => {
    await fc.assert(
      fc.asyncProperty(marked, async (program) => {
        const text = plain(program);
        expect(await run(text)).toBe(format(text).text);
      }),
      { numRuns: 30 },
    );
    expect(await run("dim N, M", { printWidth: 20 })).toBe("dim N, M\n");
  });

  test("shows where an error is", async () => {
    await expect(run("dim N\nfn f(x: f32[N] { x }")).rejects.toThrow(
      /WF1001: I expected '\)' to close the '\(' opened here[^]*> 2 \|/,
    );
  });
});
