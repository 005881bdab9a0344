/** The programs that the benchmarks run: they check, are formatted, and have what the cases name. */
import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { openSource } from "../../compiler/cli/source-host.ts";
import { compile, format, render } from "../../compiler/index.ts";
import { cases } from "./cases.mjs";

const root = resolve(import.meta.dirname, "../..");
const folder = "test/bench/programs";

for (const name of readdirSync(join(root, folder)))
  it(`${name} is formatted`, () => {
    const text = readFileSync(join(root, folder, name), "utf8");
    expect(format({ file: name, text }).text).toBe(text);
  });

for (const { name, program, entry, dims } of cases)
  it(`${name} has a graph`, () => {
    const { source, host } = openSource(join(root, folder, program), root);
    const sizes = new Map(Object.entries(dims));
    const found = compile({ source, host, entry, target: undefined, dims: sizes, dtypes: new Map() });
    expect(render(found.diagnostics, { colour: false, sources: found.sources })).toBe("");
    // A cache's pages are as many as who runs it has.
    const open = found.graph?.graph.dims.filter((dim) => !/_(pages|slots)$/.test(dim));
    expect(open).toEqual([]);
  });

it("cases have names of their own", () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});
