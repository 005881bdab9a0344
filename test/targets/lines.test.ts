/** Generated lines know where they come from, behind whatever stands above the kernel. */
import { expect, test } from "vitest";
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import { legalize } from "../../compiler/kernel/legalize/index.ts";
import { jsCaps } from "../../compiler/targets/js/caps.ts";
import { emitJs } from "../../compiler/targets/js/emit.ts";
import { wgslCaps } from "../../compiler/targets/wgsl/caps.ts";
import { emitWgsl } from "../../compiler/targets/wgsl/emit.ts";
import type { Emitted } from "../../compiler/targets/writer.ts";
import { constant } from "../../compiler/types/dim.ts";

const b = new KernelBuilder(1);
const x = b.buffer({ name: "x", dtype: "f32", length: constant(4), access: "read", align: 16 });
const y = b.buffer({ name: "y", dtype: "i32", length: constant(4), access: "write", align: 16 });
b.line(0, 7, 3);
b.for(b.i32(0), b.i32(4), 1, "i", (i) => {
  b.line(1, 20, 1);
  const value = b.binary("min", b.load(x, i), b.f32(Infinity), "value");
  b.line(0, 8, 3);
  b.store(y, i, [b.convert(value, "i32")]);
});
const kernel = b.finish({
  name: "k",
  grid: [constant(1), constant(1), constant(1)],
  summary: "s",
  files: ["a.dsl", "lib/b.dsl"],
});

function sources(emitted: Emitted): readonly (readonly [string, string])[] {
  const text = emitted.text.split("\n");
  return emitted.lines.map(({ line, source }) => [source, (text[line - 1] ?? "").trim()]);
}

test("in JavaScript", () => {
  expect(sources(emitJs(legalize(kernel, jsCaps)))).toEqual([
    ["a.dsl:7:3", "for (let i = 0; i < 4; i += 1) {"],
    ["lib/b.dsl:20:1", "const value = smaller(x[i], Infinity);"],
    ["a.dsl:8:3", "y[i] = toI32(value);"],
  ]);
});

test("in WGSL", () => {
  expect(sources(emitWgsl(legalize(kernel, wgslCaps)))).toEqual([
    ["a.dsl:7:3", "for (var i = 0; i < 4; i += 1) {"],
    ["lib/b.dsl:20:1", "let value = min(x[i], infinity);"],
    ["a.dsl:8:3", "y[i] = to_i32(value);"],
  ]);
});
