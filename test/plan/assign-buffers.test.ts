import fc from "fast-check";
import { expect, test } from "vitest";
import type { Temporary } from "../../compiler/plan/assign-buffers.ts";
import { assignBuffers } from "../../compiler/plan/assign-buffers.ts";
import { sizeExpression } from "../../compiler/types/dim-text.ts";
import type { Dim } from "../../compiler/types/dim.ts";
import { add, constant, evaluate, mul, symbol } from "../../compiler/types/dim.ts";

const [B, S] = [symbol("B"), symbol("S")];
const size = fc.oneof(
  fc.integer({ min: 1, max: 5000 }).map(constant),
  fc.constantFrom<Dim>(B, S, mul(B, S), mul(constant(4), B, S), add(B, mul(constant(2), S)), mul(B, B)),
  fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom<Dim>(B, S))
    .map(([k, dim]) => mul(constant(k), dim)),
);
const life = fc.tuple(fc.nat(30), fc.nat(8)).map(([first, length]) => ({ first, last: first + length }));
const temporaries: fc.Arbitrary<Temporary[]> = fc
  .array(fc.tuple(size, life), { maxLength: 40 })
  .map((rows) => rows.map(([bytes, lives], id) => ({ id, bytes, ...lives })));
const dims = fc.record({ B: fc.integer({ min: 1, max: 300 }), S: fc.integer({ min: 1, max: 300 }) });

test("no two tensors that live at once overlap, all lie inside, and starts are multiples of 256", () => {
  const property = fc.property(temporaries, dims, (list, values) => {
    const { offsets, bytes } = assignBuffers(list);
    const at = (dim: Dim | undefined): number =>
      evaluate(dim ?? constant(-1), new Map(Object.entries(values)));
    const placed = list.map((one) => {
      const start = at(offsets.get(one.id));
      return { ...one, start, end: start + at(one.bytes) };
    });
    for (const one of placed) {
      expect(one.start % 256).toBe(0);
      expect(one.end).toBeLessThanOrEqual(at(bytes));
      for (const other of placed) {
        if (one.id >= other.id || one.first > other.last || other.first > one.last) continue;
        expect(one.end <= other.start || other.end <= one.start, `${one.id} and ${other.id}`).toBe(true);
      }
    }
  });
  fc.assert(property, { numRuns: 500 });
});

test("never more than apart, and a chain of equal tensors needs two", () => {
  const property = fc.property(temporaries, dims, (list, values) => {
    const at = (dim: Dim): number => evaluate(dim, new Map(Object.entries(values)));
    const apart = list.reduce((sum, { bytes }) => sum + Math.ceil(at(bytes) / 256) * 256, 0);
    expect(at(assignBuffers(list).bytes)).toBeLessThanOrEqual(apart);
  });
  fc.assert(property, { numRuns: 300 });
  const bytes = mul(constant(2), B, S);
  const chain = Array.from({ length: 50 }, (_, id) => ({ id, bytes, first: id, last: id + 1 }));
  const { offsets, bytes: whole } = assignBuffers(chain);
  expect(sizeExpression(whole)).toBe("512 * ceildiv(B * S, 128)");
  expect(new Set([...offsets.values()].map(sizeExpression))).toEqual(
    new Set(["0", "256 * ceildiv(B * S, 128)"]),
  );
});

test("constant sizes take the tightest free slot", () => {
  const sized = (id: number, bytes: number, first: number, last: number): Temporary => ({
    id,
    bytes: constant(bytes),
    first,
    last,
  });
  const { offsets, bytes } = assignBuffers([
    sized(0, 1000, 0, 1),
    sized(1, 5000, 0, 1),
    sized(2, 900, 2, 3),
    sized(3, 4000, 2, 3),
  ]);
  expect(offsets.get(2)).toEqual(offsets.get(0));
  expect(offsets.get(3)).toEqual(offsets.get(1));
  expect(bytes).toEqual(constant(1024 + 5120));
});

test("many distinct symbolic sizes in turn do not nest without end", () => {
  const chain = Array.from({ length: 200 }, (_, k) => ({
    id: k,
    bytes: mul(constant(k + 1), k % 2 === 0 ? B : S),
    first: k,
    last: k,
  }));
  const { bytes } = assignBuffers(chain);
  expect(
    evaluate(
      bytes,
      new Map([
        ["B", 3],
        ["S", 5],
      ]),
    ),
  ).toBeGreaterThanOrEqual(1000);
});
