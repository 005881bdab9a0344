import { describe, expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { typeOf } from "../../compiler/tensor/refs.ts";
import type { LoopNode, Ref } from "../../compiler/tensor/ir.ts";
import { constant, symbol } from "../../compiler/types/dim.ts";

function doubled(arena: Arena, axis: string, order: "unused first" | "plain"): LoopNode {
  const x = arena.ref(arena.input("x", "argument", arena.type("bf16", [symbol("B"), constant(128)])));
  const y = arena.ref(arena.input("y", "argument", arena.type("f32", [constant(128)])));
  const inputs: Ref[] = order === "unused first" ? [y, x] : [];
  const value = arena.apply("mul", arena.read(inputs, x, [arena.axis(0), arena.axis(1)]), arena.f32(2));
  const axes = [
    { name: axis, extent: symbol("B") },
    { name: "d", extent: constant(128) },
  ];
  return arena.loop({ axes, results: [{ value, dtype: "bf16", axes: [0, 1] }], inputs });
}

describe("Arena", () => {
  it("keeps equal nodes once, whatever their axes are called and however their inputs were listed", () => {
    const arena = new Arena();
    const first = doubled(arena, "b", "plain");
    expect(doubled(arena, "c", "plain")).toBe(first);
    expect(doubled(arena, "b", "unused first")).toBe(first);
    expect(first.inputs.map((ref) => ref.node.kind)).toEqual(["input"]);
    expect(typeOf(arena.ref(first))).toEqual({ dtype: "bf16", shape: [symbol("B"), constant(128)] });
  });

  it("orders inputs by first use in reading order, not by when they were made", () => {
    const arena = new Arena();
    const refs = ["x", "y"].map((name) => arena.ref(arena.input(name, "argument", arena.type("f32", []))));
    const [x, y] = refs;
    if (x === undefined || y === undefined) throw new Error("two inputs");
    const inputs: Ref[] = [];
    const readX = arena.read(inputs, x, []);
    const readY = arena.read(inputs, y, []);
    const value = arena.apply("sub", readY, readX);
    const loop = arena.loop({ axes: [], results: [{ value, dtype: "f32", axes: [] }], inputs });
    expect(loop.inputs).toEqual([y, x]);
  });

  it("folds integers and leaves floats", () => {
    const arena = new Arena();
    expect(arena.apply("add", arena.i32(2 ** 31 - 1), arena.i32(1))).toBe(arena.i32(-(2 ** 31)));
    expect(arena.apply("floordiv", arena.i32(-7), arena.i32(2))).toBe(arena.i32(-4));
    expect(arena.apply("mod", arena.i32(-7), arena.i32(2))).toBe(arena.i32(1));
    expect(arena.apply("mul", arena.const("i64", 2n ** 63n - 1n), arena.const("i64", 2n))).toBe(
      arena.const("i64", -2n),
    );
    expect(arena.apply("add", arena.f32(1), arena.f32(0)).kind).toBe("apply");
    expect(arena.f32(-0)).not.toBe(arena.f32(0));
  });

  it("refuses what has no type", () => {
    const arena = new Arena();
    expect(() => arena.apply("add", arena.f32(1), arena.i32(1))).toThrow("'add' of f32, i32");
    expect(() => arena.apply("sine", arena.f32(1))).toThrow("there is no scalar function 'sine'");
    expect(() => arena.round("i32", arena.f32(1))).toThrow("round to i32");
  });

  it("keeps the first hint and the first place", () => {
    const arena = new Arena();
    const node = doubled(arena, "b", "plain");
    arena.setHint(arena.ref(node), "y");
    arena.setHint(arena.ref(node), "z");
    arena.setPlace(node, { file: "a.dsl", start: 1, end: 2 });
    arena.setPlace(node, { file: "b.dsl", start: 1, end: 2 });
    expect(arena.hint(arena.ref(node))).toBe("y");
    expect(arena.place(node)?.file).toBe("a.dsl");
  });
});
