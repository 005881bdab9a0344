/** Rules of the house that a search can hold; each says why. STYLE.md has the others. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");

interface Source {
  readonly file: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
}

const sources: readonly Source[] = [
  "grammar",
  "compiler",
  "runtime",
  "examples",
  "stdlib",
  "test",
  "docs",
].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .filter(
      (name) => /\.(?:ts|mjs|dsl|py|c|md)$/.test(name) && !/(^|\/)(?:node_modules|fixtures)\//.test(name),
    )
    .map((name) => {
      const text = readFileSync(join(root, top, name), "utf8");
      return { file: `${top}/${name}`, text, code: withoutComments(text) };
    }),
);
const own = "test/house-rules.test.ts";
const under = (...tops: readonly string[]): readonly Source[] =>
  sources.filter(({ file }) => file !== own && tops.some((top) => file.startsWith(top)));
const typescript = under("grammar/", "compiler/", "runtime/").filter(({ file }) => file.endsWith(".ts"));

/** Where the pattern stands: `file:line: text`. */
function hits(among: readonly Source[], pattern: RegExp, part: "text" | "code" = "code"): readonly string[] {
  return among.flatMap((source) =>
    source[part]
      .split("\n")
      .flatMap((line, k) =>
        pattern.test(line) ? [`${source.file}:${k + 1}: ${line.trim().slice(0, 90)}`] : [],
      ),
  );
}

describe("house rules", () => {
  it("no kernel text in a template string: it would bypass every IR and every test of them", () => {
    const long = under("compiler/")
      .filter(({ file }) => !/^compiler\/(?:diagnostics|cli)\//.test(file))
      .filter(({ text }) =>
        longTemplate.test(withoutWordLists(withoutComments(text.replace(/`[^`\n]*`/g, '""')))),
      );
    expect(long.map(({ file }) => file)).toEqual([]);
  });

  it("no catch that swallows: wrong numbers with green tests", () => {
    expect(
      sources
        .filter(({ file, code }) => file !== own && /catch\s*(?:\([^)]*\))?\s*\{\s*\}/.test(code))
        .map(({ file }) => file),
    ).toEqual([]);
  });

  it("no names that say nothing", () => {
    const banned =
      /\b(?:class|interface|type)\s+\w*(?:Manager|Helper|Utils?|Processor|Handler|Service|Impl|Data|Info|Abstract)\b/;
    expect(hits(typescript, banned)).toEqual([]);
    expect(
      sources
        .map(({ file }) => file)
        .filter((file) => /(?:^|\/)(?:utils?|helpers?|misc|common)\.\w+$/.test(file)),
    ).toEqual([]);
  });

  it("no unfinished work in public paths: leave it out, so that it cannot be asked for", () => {
    expect(
      hits(
        under("grammar/", "compiler/", "runtime/", "examples/", "stdlib/"),
        /\bTODO\b|\bFIXME\b|\bXXX\b|not implemented/i,
        "text",
      ),
    ).toEqual([]);
  });

  it("no any and no double cast: types stop meaning anything", () => {
    const bare = typescript.map((source) => ({
      ...source,
      code: source.code.replace(/"(?:[^"\\\n]|\\.)*"/g, '""'),
    }));
    expect(hits(bare, /(?:[:<,(|]\s*|\bas )any\b(?!\s*[:(])|as unknown as/)).toEqual([]);
  });

  it("no enum and no namespace: what is erased is all there is", () => {
    expect(hits(typescript, /^\s*(?:export )?(?:const )?enum |^\s*(?:export )?namespace /)).toEqual([]);
  });

  it("generated text is never patched: that is done in the IR", () => {
    expect(
      hits(under("compiler/targets/"), /\b(?:code|body|output|out|emitted|lines?)\.replace(?:All)?\(/),
    ).toEqual([]);
  });

  it("no folder of anyone's machine", () => {
    expect(hits(under(""), /\/(?:home|Users|work|root)\/\w/, "text")).toEqual([]);
  });

  it("no banner lines: a file that needs parts is two files", () => {
    expect(
      hits(
        typescript.filter(({ file }) => file !== "compiler/compile.ts"),
        /^\s*\/\/\s*[=*#]{4,}/,
        "text",
      ),
    ).toEqual([]);
  });

  it("nothing in the compiler is named after a model's part: programs that nobody wrote a pass for fuse the same", () => {
    // Pipelines lay out the parts of a model in time, and name them.
    const among = under("compiler/").filter(
      ({ file }) => !/^compiler\/(?:diagnostics|cli|pipeline)\//.test(file),
    );
    expect(hits(among, /attention|softmax|rmsnorm/i)).toEqual([]);
  });

  it("no op of an IR mentions a target", () => {
    expect(
      hits(
        under("compiler/tensor/", "compiler/passes/", "compiler/tile/ir.ts", "compiler/kernel/ir.ts"),
        /\b(?:ptx|cuda|wgsl)\b/i,
      ),
    ).toEqual([]);
  });

  it("the version is the package's", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(readFileSync(join(root, "compiler/version.ts"), "utf8")).toContain(`"${version}"`);
  });

  it("the pages at the root are there, and ARCHITECTURE keeps to 200 lines", () => {
    for (const page of ["README.md", "ARCHITECTURE.md", "STYLE.md", "LICENSE"])
      expect(existsSync(join(root, page))).toBe(true);
    expect(readFileSync(join(root, "ARCHITECTURE.md"), "utf8").split("\n").length).toBeLessThanOrEqual(201);
  });
});

/** Comments become as many empty lines, so that line numbers hold. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ""))
    .replace(/(^|\s)\/\/.*$/gm, "$1");
}

/** A template string over four lines or more; those of one line are taken out before it is asked. */
const longTemplate = /^[^`\n]*`[^`\n]*\n(?:[^`\n]*\n){3}/m;

/** Lists of keywords are written as words in one string. */
function withoutWordLists(code: string): string {
  return code.replace(/\bwords\(`[^`]*`\)/g, "");
}
