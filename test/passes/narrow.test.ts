import { expect, it } from "vitest";
import { narrow } from "../../compiler/passes/narrow.ts";
import { runPasses } from "../../compiler/passes/pass.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { print } from "../../compiler/tensor/print.ts";
import { numbers, tensor } from "../tensor/tensors.ts";

/** Two loops in a row that are read rounded, one that is also read as it is. */
const text = `graph chain
%x = input argument "x": f32[4]
%a = loop i in 4 {
  yield f32[i]: mul(%x[i], 1.001)
}
%b = loop i in 4 {
  yield f32[i]: add(bf16(%a[i]), 0.003)
}
%c = loop i in 4 {
  yield f32[i]: mul(%x[i], 3.001)
}
%y = loop i in 4 {
  yield f32[i]: add(add(bf16(%b[i]), bf16(%c[i])), %c[i])
}
result "out" = %y
`;

it("stores what is read rounded in the narrower dtype, and nothing else", () => {
  const arena = new Arena();
  const graph = parse(arena, text);
  const after = runPasses([narrow], graph, { arena });
  const printed = print(arena, after);
  expect(printed).toContain("yield bf16[i]: bf16(mul(%x[i], 1.001))");
  expect(printed).toContain("yield bf16[i]: bf16(add(bf16(%a[i]), 3e-3))");
  expect(printed).toContain("yield f32[i]: mul(%x[i], 3.001)");
  const inputs = new Map([["x", tensor("f32", [4], [0.1, -2.7, 3.3, 1e6])]]);
  const values = [graph, after].map((g) =>
    numbers(interpret(arena, g, inputs, new Map()).results.get("out")),
  );
  expect(values[1]).toEqual(values[0]);
  expect(runPasses([narrow], after, { arena })).toBe(after);
});
