/** Names of an imported file mean what they mean there, whatever the importing file calls its own. */
import { describe, expect, it } from "vitest";
import { checkProgram } from "../../compiler/check/index.ts";
import { createReport } from "../../compiler/diagnostics/diagnostic.ts";
import { expectClose, lowered, run } from "./oracle.ts";
import { noise, sum, table } from "./plain.ts";
import { entryOf } from "./compiled.ts";

function program(files: Readonly<Record<string, string>>) {
  const report = createReport();
  const host = {
    read: (path: string) => (files[path] === undefined ? undefined : { file: path, text: files[path] }),
  };
  const made = checkProgram({ file: "main.dsl", text: files["main.dsl"] ?? "", host, report });
  expect(report.diagnostics.map((d) => d.message)).toEqual([]);
  if (made === undefined) throw new Error("not checked");
  return made;
}

describe("imports", () => {
  it("a constant size of the other file is its own", () => {
    const made = program({
      "blocks.dsl": `dim N, D = 3
        const half = 0.5
        fn head(x: f32[N, D]) -> f32[N] { for n: half * sum[d](x[n, d]) }
        module Part { param w: f32[D]; fn run(x: f32[N, D]) -> f32[N] { for n: sum[d](x[n, d] * w[d]) } }`,
      "main.dsl": `import "./blocks.dsl" { head, Part }
        dim B, M
        dim D = 2
        module Whole {
          param part: Part
          fn forward(x: f32[B, 3], y: f32[B, D]) -> f32[B] { let p = part.run(x) + head(x); for b: p[b] + sum[d](y[b, d]) }
        }`,
    });
    const [x, w, y] = [noise("f32", [2, 3]), noise("f32", [3]), noise("f32", [2, 2])];
    const graph = lowered(made, entryOf(made, "Whole.forward"), { B: 2 });
    const got = run(graph, { x: x.values, y: y.values, "part.w": w.values })["out"];
    const want = table([2], (b) => sum(3, (d) => x.at(b, d) * (w.at(d) + 0.5)) + sum(2, (d) => y.at(b, d)));
    expectClose(got, want.values, 2 ** -20, 2 ** -22);
  });
});
