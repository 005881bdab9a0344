import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { check, lineOf } from "./host.ts";

const folder = new URL("../contract/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), "utf8");
const programs = readdirSync(folder).filter((name) => name.endsWith(".dsl"));
const errors = readdirSync(new URL("errors/", folder)).filter((name) => name !== "deadlock.dsl");

describe("the contract's programs", () => {
  test.each(programs)("%s checks", (name) => {
    const text = read(name);
    const { program, diagnostics } = check(text);
    expect(
      diagnostics.map((d) => `${lineOf(text, d.labels[0].place.start)}: ${d.code} ${d.message}`),
    ).toEqual([]);
    expect(program).toBeDefined();
  });
});

describe("the contract's mistakes", () => {
  test.each(errors)("%s fails with the family and line that it names", (name) => {
    const text = read(`errors/${name}`);
    const expected = [...(text.split("\n")[0] ?? "").matchAll(/(WF\d) at line (\d+)/g)].map(
      ([, family, line]) => `${family} ${line}`,
    );
    const { diagnostics } = check(text);
    expect(diagnostics.map((d) => `${d.code.slice(0, 3)} ${lineOf(text, d.labels[0].place.start)}`)).toEqual(
      expected,
    );
  });
});
