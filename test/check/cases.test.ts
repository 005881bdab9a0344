/**
 * One case a code: a program with a mistake, and what the terminal shows. A case is `text`, a line `----`, and the
 * expected rendering; BLESS=1 rewrites the second part. Cases may hold further files after `==== name` lines.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { pages } from "../../compiler/diagnostics/pages.ts";
import { renderDiagnostics } from "../../compiler/diagnostics/render.ts";
import { syntaxErrors } from "../../grammar/errors.ts";
import { check } from "./host.ts";

const folder = new URL("./cases/", import.meta.url);
const names = readdirSync(folder).sort();

function run(source: string): { readonly text: string; readonly codes: readonly string[] } {
  const [main = "", ...others] = source.split(/^==== /m);
  const files: Record<string, string> = {};
  for (const other of others)
    files[other.slice(0, other.indexOf("\n"))] = other.slice(other.indexOf("\n") + 1);
  const { diagnostics } = check(main, files);
  const sources = new Map(Object.entries({ ...files, "test.dsl": main }));
  return {
    text: renderDiagnostics(diagnostics, { colour: false, sources }),
    codes: diagnostics.map(({ code }) => code),
  };
}

describe("each mistake", () => {
  test.each(names)("%s", (name) => {
    const url = new URL(name, folder);
    const whole = readFileSync(url, "utf8");
    const [source = "", expected = ""] = whole.split("----\n");
    const { text, codes } = run(source);
    if (process.env["BLESS"] === "1") writeFileSync(url, `${source}----\n${text}`);
    else expect(text).toBe(expected);
    // One mistake, one message, of the code that the file is named after.
    expect(codes).toEqual([name.slice(0, 6)]);
  });
});

test("every code that a constructor makes has a page, and every code of the checker a case", () => {
  const sources = new URL("../../compiler/diagnostics/", import.meta.url);
  const made = new Set<string>();
  for (const file of readdirSync(sources)) {
    if (file.endsWith(".ts"))
      for (const [, code] of readFileSync(new URL(file, sources), "utf8").matchAll(/"(WF[2-6]\d{3})"/g))
        made.add(code ?? "");
  }
  expect([...made].filter((code) => !Object.hasOwn(pages, code))).toEqual([]);
  expect(Object.keys(pages).filter((code) => !made.has(code))).toEqual([]);
  const checked = [...made].filter((code) => Object.hasOwn(checkerPages, code));
  // 257 files stand in hostile.test.ts.
  expect(checked.filter((code) => !names.some((name) => name.startsWith(code)))).toEqual(["WF2010"]);
  for (const [code, page] of Object.entries({ ...pages, ...syntaxErrors })) {
    expect(code).toMatch(/^WF[1-6]\d{3}$/);
    expect(page.title.length).toBeGreaterThan(3);
    expect(page.page.length).toBeGreaterThan(30);
  }
});

/** Codes that the checker itself gives; those from 700 on in a family belong to lowering, 5003 on to pipelines' proofs, 6010 on to targets. */
const checkerPages = Object.fromEntries(
  Object.entries(pages).filter(([code]) => !/^WF(\d7|60[1-9]|500[3-9]|501)/.test(code)),
);
