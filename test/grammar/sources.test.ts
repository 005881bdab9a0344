/** The language's own sources are written as the formatter writes them. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { format } from "../../grammar/format.ts";

const sources = ["stdlib", "examples", "docs"]
  .flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`),
  )
  .filter((path) => path.endsWith(".dsl"));

test.each(sources)("%s is formatted", (path) => {
  const text = readFileSync(path, "utf8");
  expect(format(text)).toEqual({ text, errors: [] });
});
