import { describe, expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { interpret, type InterpretOptions } from "../../compiler/tensor/interpret.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { verify } from "../../compiler/tensor/verify.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { numbers, tensor } from "./tensors.ts";

function run(
  text: string,
  inputs: Record<string, StoredTensor>,
  dims: Record<string, number> = {},
  options?: InterpretOptions,
): Record<string, number[]> {
  const arena = new Arena();
  const graph = parse(arena, text);
  expect(verify(graph)).toEqual([]);
  const { results, updates } = interpret(
    arena,
    graph,
    new Map(Object.entries(inputs)),
    new Map(Object.entries(dims)),
    options,
  );
  return Object.fromEntries([...results, ...updates].map(([name, value]) => [name, numbers(value)]));
}

describe("interpret", () => {
  it("runs linked carriers in sweeps, and results over the swept axes", () => {
    const text = `graph softmax
dims B
%x = input argument "x": f32[B, 4]
%y = loop b in B over t in 4 {
  m = max f32: %x[b, t]
  let e = exp2(sub(%x[b, t], m))
  z = sum f32: e
  yield f32[t, b]: div(e, z)
  yield f32[b]: add(m, z)
}
result "y" = %y
result "z" = %y.1
`;
    const { y, z } = run(
      text,
      { x: tensor("f32", [2, 4], [0, 1, 1, 2, -Infinity, 0, 0, -Infinity]) },
      { B: 2 },
    );
    // exp2 of (-2, -1, -1, 0) adds up to 2.25.
    expect(y).toEqual([1 / 9, 0, 2 / 9, 0.5, 2 / 9, 0.5, 4 / 9, 0].map(Math.fround));
    expect(z).toEqual([4.25, 2]);
  });

  it("rounds where a type is written and nowhere else", () => {
    const text = `graph f
%x = input argument "x": f32[2]
%kept = loop i in 2 {
  yield f32[i]: mul(%x[i], 1.00001)
}
%y = loop i in 2 {
  yield f32[i]: sub(%kept[i], mul(%x[i], 1.00001))
  yield f32[i]: bf16(%x[i])
  yield bf16[i]: %x[i]
}
result "exact" = %y
result "rounded" = %y.1
result "stored" = %y.2
`;
    const out = run(text, { x: tensor("f32", [2], [1.00390625, 1.01171875]) });
    // 1 + 2^-8 and 1 + 3 2^-8 are ties of bf16: to even.
    expect(out).toEqual({ exact: [0, 0], rounded: [1, 1.015625], stored: [1, 1.015625] });
  });

  it("wraps integers, floors division and saturates casts", () => {
    const text = `graph f
%a = input argument "a": i32[3]
%b = input argument "b": i32[3]
%y = loop i in 3 {
  yield i32[i]: mul(%a[i], %b[i])
  yield i32[i]: floordiv(%a[i], %b[i])
  yield i32[i]: mod(%a[i], %b[i])
  yield u32[i]: u32(%a[i])
  yield i8[i]: i8(%a[i])
  yield i32[i]: i32(mul(f32(%a[i]), 1e10))
  yield i64[i]: mul(i64(%a[i]), 4294967296l)
}
${[0, 1, 2, 3, 4, 5, 6].map((i) => `result "r${i}" = %y${i === 0 ? "" : `.${i}`}`).join("\n")}
`;
    expect(
      run(text, { a: tensor("i32", [3], [2147483647, -7, 7]), b: tensor("i32", [3], [2, 2, -2]) }),
    ).toEqual({
      r0: [-2, -14, -14],
      r1: [1073741823, -4, -4],
      r2: [1, 1, -1],
      r3: [2147483647, 4294967289, 7],
      r4: [127, -7, 7],
      r5: [2147483647, -2147483648, 2147483647],
      r6: [2147483647 * 4294967296, -7 * 4294967296, 7 * 4294967296],
    });
    const zero = run(text, { a: tensor("i32", [3], [5, -5, 0]), b: tensor("i32", [3], [0, 0, 0]) });
    expect([zero["r1"], zero["r2"]]).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  const gather = `graph gather
%t = input argument "table": f32[3]
%i = input argument "i": i32[2]
%y = loop n in 2 {
  let ok = ge(%i[n], 0)
  yield f32[n]: select(ok, %t[%i[n]] clamp, -1.0)
  yield f32[n]: %t[%i[n]] else 9.0
}
result "y" = %y
result "else" = %y.1
`;
  it("clamps, gives the value for outside, and in bounds mode refuses an index outside that is used", () => {
    const inputs = { table: tensor("f32", [3], [1, 2, 3]), i: tensor("i32", [2], [-1, 2]) };
    expect(run(gather, inputs)).toEqual({ y: [-1, 3], else: [9, 3] });
    const strict: InterpretOptions = { bounds: "error", errors: false };
    expect(run(gather, inputs, {}, strict)).toEqual({ y: [-1, 3], else: [9, 3] });
    const wrong = { ...inputs, i: tensor("i32", [2], [0, 3]) };
    expect(run(gather, wrong)["y"]).toEqual([1, 3]);
    expect(() => run(gather, wrong, {}, strict)).toThrow("index 3 is outside axis 1 of 'table', which has 3");
  });

  it("scatters over a copy, drops what is outside and what is not kept", () => {
    const text = `graph f
%s = input state "s": f32[4]
%y = scatter %s n in 3 {
  target [sub(mul(n, 3), 1)]
  value: f32(n)
  keep: ne(n, 2)
}
result "old" = %s
update "s" = %y
`;
    expect(run(text, { s: tensor("f32", [4], [9, 9, 9, 9]) })).toEqual({
      old: [9, 9, 9, 9],
      s: [9, 9, 1, 9],
    });
  });

  it("defines the structured nodes", () => {
    const text = `graph f
%x = input argument "x": f32[5]
%keep = input argument "keep": bool[5]
%i = input argument "i": i32[3, 2]
%top = topk %x axis 0 k 3 keep %keep;
%sum = scan %i axis 0
%sorted = sort %x axis 0
%plan = dispatch %i experts 3 align 2
result "values" = %top
result "index" = %top.1
result "mask" = %top.2
result "sum" = %sum
result "sorted" = %sorted
result "position" = %plan
result "source" = %plan.1
result "expert" = %plan.2
result "start" = %plan.3
result "count" = %plan.4
`;
    const inputs = {
      x: tensor("f32", [5], [1, Number.NaN, 3, 3, 7]),
      keep: tensor("bool", [5], [1, 1, 1, 1, 0]),
      i: tensor("i32", [3, 2], [2, 0, 2, -1, 2, 3]),
    };
    expect(run(text, inputs)).toEqual({
      values: [3, 3, 1],
      index: [2, 3, 0],
      mask: [1, 0, 1, 1, 0],
      sum: [2, 0, 4, -1, 6, 2],
      sorted: [1, 3, 3, 7, Number.NaN],
      position: [2, 0, 3, -1, 4, -1],
      source: [1, -1, 0, 2, 4, -1, -1, -1],
      expert: [0, 2, 2, 3],
      start: [0, 2, 2],
      count: [1, 0, 3],
    });
  });

  it("says what is wrong with inputs and sizes", () => {
    const text = `graph f\ndims N\ncheck N <= 4: "N is at most 4"\n%x = input argument "x": f32[N]\nresult "y" = %x\n`;
    const x = tensor("f32", [2], [1, 2]);
    expect(() => run(text, {}, { N: 2 })).toThrow("input 'x' is missing");
    expect(() => run(text, { x }, { N: 3 })).toThrow("input 'x' is f32[2], not f32[3]");
    expect(() => run(text, { x }, { N: 5 })).toThrow("N is at most 4 (5 and 4)");
    expect(() => run(text, { x })).toThrow("no size is given for N");
    expect(() => run(text, { x: { ...x, bytes: x.bytes.subarray(1) } }, { N: 2 })).toThrow("7 bytes");
  });
});
