/** The cases at which decoding is accepted on a GPU: they have graphs, and sizes left open where a run gives them. */
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { openSource } from "../../../compiler/cli/source-host.ts";
import { compile, format, render } from "../../../compiler/index.ts";
import { cases } from "./cases.mjs";

const root = resolve(import.meta.dirname, "../../..");
const { source, host } = openSource(join(import.meta.dirname, "decode.dsl"), root);

it("the program is formatted", () => {
  expect(format(source).text).toBe(source.text);
});

it.each(cases)("$name has a graph", ({ entry, A, dims }) => {
  const found = compile({
    source,
    host,
    entry,
    target: undefined,
    dims: new Map(Object.entries(dims)),
    dtypes: new Map([["A", A]]),
  });
  expect(render(found.diagnostics, { colour: false, sources: found.sources })).toBe("");
  const open = found.graph?.graph.dims.filter((dim) => !/_(pages|slots)$/.test(dim));
  expect(open).toEqual("B" in dims ? [] : ["B", "T"]);
});

it("cases have names of their own", () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});
