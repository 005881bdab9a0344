/** Dispatch, work on ragged rows and combine, from typed trees built by hand. */
import { describe, it } from "vitest";
import type { Axis, TypedExpr, Variable } from "../../compiler/check/typed.ts";
import { symbol } from "../../compiler/types/dim.ts";
import { expectClose, lowered, numbers, random, run, stored } from "./oracle.ts";
import * as t from "./typed-tree.ts";

const rows: Axis = { kind: "ragged", name: "R", instance: "r1", by: symbol("E") };

/** y[e, t, f] = sum over d of rows[e, t, d] * w[e, f, d], combined by `weight`; beside it rows and sums of each expert. */
function routed() {
  const [x, index] = [
    t.param("x", t.tensor("f32", ["N", "D"])),
    t.param("index", t.tensor("i32", ["N", "K"])),
  ];
  const [w, weight] = [
    t.param("w", t.tensor("f32", ["E", "F", "D"])),
    t.param("weight", t.tensor("f32", ["N", "K"])),
  ];
  const plan = {
    kind: "plan",
    rows: symbol("N"),
    choices: symbol("K"),
    experts: symbol("E"),
    instance: "r1",
  } as const;
  const rowType = t.tensor("f32", ["E", rows, "D"]);
  const parts: Variable[] = [
    { name: "rows", type: rowType },
    { name: "plan", type: plan },
  ];
  const [r, p] = parts;
  if (r === undefined || p === undefined) throw new Error("two parts");
  const type = { kind: "record", fields: parts } as const;
  const dispatch: TypedExpr = {
    kind: "builtin",
    builtin: { name: "dispatch", experts: symbol("E"), instance: "r1" },
    args: [t.local(x), t.local(index)],
    type,
    place: t.place,
  };
  const e = t.variable("e", "E");
  const [u, d, f] = [t.variable("t", rows, e), t.variable("d", "D"), t.variable("f", "F")];
  const product = t.apply("mul", t.read(t.local(r), [e, u, d]), t.read(t.local(w), [e, f, d]));
  const y = t.bind(
    "y",
    t.cast(t.over([e, u, f], t.reduce("sum", [d], product)), t.tensor("f32", ["E", rows, "F"])),
  );
  const args = [t.local(y.variable), t.local(p), t.local(weight)];
  const out: TypedExpr = {
    kind: "builtin",
    builtin: { name: "combine" },
    args,
    type: t.tensor("f32", ["N", "F"]),
    place: t.place,
  };
  const e2 = t.variable("e", "E");
  const u2 = t.variable("t", rows, e2);
  const each = t.over([e2, f], t.reduce("sum", [u2], t.read(t.local(y.variable), [e2, u2, f])));
  const e3 = t.variable("e", "E");
  const u3 = t.variable("t", rows, e3);
  const all = t.over([f], t.reduce("max", [e3, u3], t.read(t.local(y.variable), [e3, u3, f])));
  const fields = [
    { name: "out", value: out },
    { name: "each", value: each },
    { name: "largest", value: all },
  ];
  const result: TypedExpr = {
    kind: "record",
    fields,
    type: { kind: "record", fields: fields.map((field) => ({ name: field.name, type: field.value.type })) },
    place: t.place,
  };
  const let1 = { kind: "let", variables: parts, destructure: true, value: dispatch, place: t.place } as const;
  return t.fn("routed", [x, index, w, weight], [let1, y.statement], result);
}

describe("routed rows", () => {
  const cases = [
    { N: 1, K: 1, E: 1, D: 1, F: 1, align: 4 },
    { N: 5, K: 2, E: 4, D: 3, F: 2, align: 2 },
    { N: 7, K: 3, E: 5, D: 2, F: 3, align: 4 },
    { N: 3, K: 2, E: 6, D: 2, F: 1, align: 64 },
  ];
  for (const { N, K, E, D, F, align } of cases) {
    it(`reach their experts and come back: N=${N}, K=${K}, E=${E}, align=${align}, with empty experts and copies that go nowhere`, () => {
      const next = random(N * 10 + E);
      const x = stored("f32", numbers(N * D, next));
      const w = stored("f32", numbers(E * F * D, next));
      const weight = stored("f32", numbers(N * K, next));
      const index = Array.from({ length: N * K }, (_, i) =>
        i % 5 === 4 ? -1 : Math.floor((next() + 1) * 0.35 * E),
      );
      const got = run(lowered(t.program(routed()), routed(), { N, K, E, D, F }, new Map(), align), {
        x,
        w,
        weight,
        index,
      });
      const row = (n: number, e: number, f: number): number => {
        let sum = 0;
        for (let d = 0; d < D; d++) sum += (x[n * D + d] ?? 0) * (w[(e * F + f) * D + d] ?? 0);
        return sum;
      };
      const out = Array.from({ length: N * F }, () => 0);
      const each = Array.from({ length: E * F }, () => 0);
      const largest = Array.from({ length: F }, () => -Infinity);
      for (let n = 0; n < N; n++) {
        for (let k = 0; k < K; k++) {
          const e = index[n * K + k] ?? -1;
          if (e < 0) continue;
          for (let f = 0; f < F; f++) {
            const value = row(n, e, f);
            out[n * F + f] = (out[n * F + f] ?? 0) + (weight[n * K + k] ?? 0) * value;
            each[e * F + f] = (each[e * F + f] ?? 0) + value;
            largest[f] = Math.max(largest[f] ?? 0, value);
          }
        }
      }
      expectClose(got["out"], out, 1e-6, 1e-6);
      expectClose(got["each"], each, 1e-6, 1e-6);
      expectClose(got["largest"], largest, 1e-6);
    });
  }
});
