import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import { errorFunction } from "../../compiler/tensor/error-function.ts";
import { expandScalar, expandedFunctions } from "../../compiler/tensor/expand-scalar.ts";
import type { Scalar } from "../../compiler/tensor/ir.ts";
import { monoids } from "../../compiler/tensor/monoids.ts";
import { scalarFunctions, type ScalarFunction } from "../../compiler/tensor/scalar-functions.ts";
import { reachable } from "../../compiler/tensor/scalars.ts";

/** Evaluates a body on carriers 0, 1, 2; `round` is applied after each function. */
function evaluate(root: Scalar, values: readonly number[], round: (x: number) => number): number {
  const known = new Map<Scalar, number>();
  for (const s of reachable([root])) {
    if (s.kind === "const") known.set(s, s.type === "f32" ? round(Number(s.value)) : Number(s.value));
    else if (s.kind === "carrier") known.set(s, values[s.carrier] ?? 0);
    else if (s.kind === "apply") {
      const [a = 0, b = 0, c = 0] = s.args.map((arg) => known.get(arg) ?? 0);
      const value = scalarFunctions.get(s.fn)?.float(a, b, c) ?? Number.NaN;
      known.set(s, s.type === "f32" ? round(value) : value);
    }
  }
  return known.get(root) ?? Number.NaN;
}

const floats = [...scalarFunctions.values()].filter((f) => f.types.includes("f32") && f.result === "same");
/** Points inside every function's domain, away from kinks. */
const positive = fc.double({ min: 0.1, max: 5, noNaN: true });

function call(f: ScalarFunction, args: readonly number[]): number {
  return f.float(args[0] ?? 0, args[1] ?? 0, args[2] ?? 0);
}

function close(a: number, b: number, tolerance: number): boolean {
  return Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

describe("laws of scalar functions", () => {
  const laws = floats.flatMap((f) =>
    f.laws.map((law): [string, ScalarFunction, typeof law] => [`${f.name}: ${JSON.stringify(law)}`, f, law]),
  );
  it.each(laws)("%s", (_, f, law) => {
    const named = (name: string): ScalarFunction => {
      const other = scalarFunctions.get(name);
      if (other === undefined) throw new Error(`no function ${name}`);
      return other;
    };
    // Any sign where the function has a meaning there.
    const any = ["log", "log2", "sqrt", "rsqrt"].includes(f.name)
      ? positive
      : fc.double({ min: -5, max: 5, noNaN: true });
    fc.assert(
      fc.property(any, any, any, positive, (x, y, z, p): void => {
        // Rounding of four operations on numbers of this size, with a factor for exp's argument.
        const near = (a: number, b: number): void =>
          expect(close(a, b, 2 ** -44), `${a} and ${b}`).toBe(true);
        switch (law.law) {
          case "commutative":
            // The sign of zero is not kept by min and max.
            expect(call(f, [x, y]) + 0).toBe(call(f, [y, x]) + 0);
            break;
          case "associative":
            near(call(f, [call(f, [x, y]), z]), call(f, [x, call(f, [y, z])]));
            break;
          case "idempotent":
            expect(f.arity === 1 ? call(f, [call(f, [x])]) : call(f, [x, x])).toBe(
              f.arity === 1 ? call(f, [x]) : x,
            );
            break;
          case "identity":
            expect(call(f, [x, law.value]) + 0).toBe(x + 0);
            break;
          case "homomorphism":
            near(call(f, [call(named(law.from), [x, y])]), call(named(law.to), [call(f, [x]), call(f, [y])]));
            break;
          case "distributes": {
            const factor = law.sign === "positive" || f.name === "div" ? p : z;
            near(
              call(f, [call(named(law.over), [x, y]), factor]),
              call(named(law.over), [call(f, [x, factor]), call(f, [y, factor])]),
            );
            break;
          }
          case "odd":
            near(call(f, [-x]), -call(f, [x]));
            break;
          case "even":
            expect(call(f, [-x])).toBe(call(f, [x]));
            break;
          case "increasing":
            // Within a few roundings of an f64, which is what the functions are computed to.
            expect(call(f, [Math.min(x, y)]) - call(f, [Math.max(x, y)])).toBeLessThanOrEqual(
              2 ** -49 * Math.abs(call(f, [y])),
            );
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("derivatives", () => {
  it.each(floats.filter((f) => f.derivative !== undefined).map((f): [string, ScalarFunction] => [f.name, f]))(
    "%s agrees with central differences",
    (_, f) => {
      const arena = new Arena();
      const first = f.name === "select" ? 1 : 0;
      const args = Array.from({ length: f.arity }, (__, i) =>
        arena.carrier(i, i === 0 && first === 1 ? "bool" : "f32"),
      );
      const partials = f.derivative?.(arena, args, arena.apply(f.name, ...args)) ?? [];
      expect(partials.length).toBe(f.arity);
      fc.assert(
        fc.property(positive, positive, positive, (x, y, z) => {
          const at = [first === 1 ? (x < 2 ? 1 : 0) : x, y, z].slice(0, f.arity);
          // A kink is where two operands meet.
          if (at.some((a, i) => at.some((b, k) => i !== k && Math.abs(a - b) < 1e-3))) return;
          partials.forEach((partial, i) => {
            if (partial === undefined) return;
            const h = 2 ** -17;
            const moved = (step: number): number =>
              call(
                f,
                at.map((a, k) => (k === i ? a + step : a)),
              );
            const difference = (moved(h) - moved(-h)) / (2 * h);
            // Truncation is h^2 of a third derivative, cancellation 2^-53 / h.
            expect(
              close(
                evaluate(partial, at, (v) => v),
                difference,
                1e-7,
              ),
              `at ${at.join(", ")}`,
            ).toBe(true);
          });
        }),
        { numRuns: 200 },
      );
    },
  );
});

describe("monoids", () => {
  it.each([...monoids.values()].map((m): [string, typeof m] => [m.name, m]))(
    "%s: its identity is one, its combination commutes",
    (_, m) => {
      const combine = scalarFunctions.get(m.combine);
      if (combine === undefined) throw new Error(`no function ${m.combine}`);
      const samples: Record<string, readonly (number | bigint)[]> = {
        f32: [-2.5, 0, 7],
        i32: [-(2 ** 31), 5, 2 ** 31 - 1],
        u32: [0, 9, 2 ** 32 - 1],
        i64: [-(2n ** 63n), 3n],
        bool: [0, 1],
      };
      for (const type of m.types) {
        for (const x of samples[type] ?? []) {
          const identity = m.identity(type);
          if (typeof x === "bigint") expect(combine.big(x, BigInt(identity), 0n)).toBe(x);
          else expect(call(combine, [x, Number(identity)])).toBe(x);
          if (m.idempotent && typeof x === "number") expect(call(combine, [x, x])).toBe(x);
        }
      }
      expect(combine.laws).toContainEqual({ law: "commutative" });
      expect(combine.laws).toContainEqual({ law: "associative" });
      for (const { fn, sign } of m.distributes) {
        const row = scalarFunctions.get(fn);
        for (const [x, y, z] of [
          [1, 2, 3],
          [-1, 2, 0.5],
          [4, -3, sign === "positive" ? 2 : -2],
        ] as const) {
          if (row !== undefined)
            expect(call(row, [call(combine, [x, y]), z])).toBe(
              call(combine, [call(row, [x, z]), call(row, [y, z])]),
            );
        }
      }
    },
  );
});

describe("erf", () => {
  it("has the values of the tables", () => {
    // Abramowitz and Stegun, table 7.1, and erfc(5) for the tail.
    const table: readonly (readonly [number, number])[] = [
      [0.1, 0.1124629160182849],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [1.5, 0.9661051464753108],
      [2, 0.9953222650189527],
      [3, 0.9999779095030014],
    ];
    for (const [x, value] of table) {
      expect(errorFunction(x)).toBeCloseTo(value, 14);
      expect(errorFunction(-x)).toBeCloseTo(-value, 14);
    }
    expect(1 - errorFunction(5)).toBeCloseTo(1.5374597944280349e-12, 14);
    expect([errorFunction(7), errorFunction(-Infinity), errorFunction(0)]).toEqual([1, -1, 0]);
    expect(errorFunction(Number.NaN)).toBeNaN();
  });
});

describe("expandScalar", () => {
  const points = [
    ...Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100),
    ...Array.from({ length: 400 }, (_, i) => 2 ** (-i / 10)),
    ...Array.from({ length: 400 }, (_, i) => -(2 ** (-i / 10))),
    40,
    -40,
    80,
    -80,
    87,
    -87,
  ].map(Math.fround);

  it.each(expandedFunctions.filter((name) => name !== "clamp"))(
    "%s in f32 is within the accuracy of its row",
    (name) => {
      const arena = new Arena();
      const row = scalarFunctions.get(name);
      if (row === undefined) throw new Error(`no function ${name}`);
      const expanded = expandScalar(arena, arena.apply(name, arena.carrier(0, "f32")));
      expect(reachable([expanded]).some((s) => s.kind === "apply" && expandedFunctions.includes(s.fn))).toBe(
        false,
      );
      const { relative, perArgument, absolute } = row.accuracy;
      for (const x of points) {
        const exact = call(row, [x]);
        if (!Number.isFinite(exact)) continue;
        const bound =
          (relative + perArgument * Math.abs(x)) * 2 ** -24 * Math.abs(exact) + absolute + 2 ** -126;
        const actual = evaluate(expanded, [x], Math.fround);
        expect(Math.abs(actual - exact), `${name}(${x}) = ${actual}, not ${exact}`).toBeLessThanOrEqual(
          bound,
        );
        if (name === "erf") expect(Math.abs(actual - exact)).toBeLessThan(2e-7);
      }
    },
  );

  it.each(expandedFunctions.filter((name) => name !== "clamp"))("%s keeps NaN and has the limits", (name) => {
    const arena = new Arena();
    const row = scalarFunctions.get(name);
    const expanded = expandScalar(arena, arena.apply(name, arena.carrier(0, "f32")));
    for (const x of [Number.NaN, Infinity, -Infinity])
      expect(evaluate(expanded, [x], Math.fround)).toBe(row === undefined ? 0 : call(row, [x]));
  });
});

describe("order", () => {
  it("orders all f32s, with both zeros equal and NaN below", () => {
    const key = scalarFunctions.get("order");
    const ascending = [Number.NaN, -Infinity, -3e38, -1, -1e-45, 0, 1e-45, 1, 3e38, Infinity];
    const keys = ascending.map((x) => key?.float(x, 0, 0) ?? 0);
    expect([...keys].sort((a, b) => a - b)).toEqual(keys);
    expect(new Set(keys).size).toBe(keys.length);
    expect(key?.float(-0, 0, 0)).toBe(0);
    expect(Math.min(...keys)).toBeGreaterThan(-(2 ** 31));
  });
});
