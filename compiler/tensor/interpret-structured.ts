/**
 * Runs the structured nodes for the oracle: their definitions, one after the other, with no algorithm.
 *
 * Errors: the values of topk and sort move by no more than the worst element of their row. An index or a mask bit
 * is uncertain where elements are closer than their errors. A scan is a sum of each prefix.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { DispatchNode, ScanNode, SortNode, TopkNode } from "./ir.ts";
import type { Running } from "./interpret.ts";
import { emptyValues, sizeOf, type Values } from "./values.ts";

export function runStructured(
  cx: Running,
  node: TopkNode | ScanNode | SortNode | DispatchNode,
  tensors: readonly Values[],
): readonly Values[] {
  const [x, keep] = tensors;
  invariant(x !== undefined, "a structured node has an input");
  const outputs = node.types.map((type) =>
    emptyValues(
      type.dtype,
      type.shape.map((dim) => cx.size(dim)),
      cx.errors,
    ),
  );
  switch (node.kind) {
    case "topk":
      for (const row of rowsOf(x.shape, node.axis)) topkRow(x, keep, row, outputs);
      return outputs;
    case "scan":
      for (const row of rowsOf(x.shape, node.axis)) scanRow(x, row, outputs);
      return outputs;
    case "sort":
      for (const row of rowsOf(x.shape, node.axis)) sortRow(x, row, outputs);
      return outputs;
    case "dispatch":
      dispatchRows(
        x,
        cx.size(node.experts),
        node.align,
        outputs,
        (index) => cx.refuse(node, { input: 0, axis: 0, index }),
        cx.bounds,
      );
      return outputs;
  }
}

/** The elements of one line along an axis: `outer * extent * inner`, every `inner`-th. */
interface Row {
  readonly outer: number;
  readonly inner: number;
  readonly extent: number;
  readonly innerExtent: number;
}

function* rowsOf(shape: readonly number[], axis: number): Iterable<Row> {
  const extent = shape[axis] ?? 0;
  const innerExtent = sizeOf(shape.slice(axis + 1));
  const outerExtent = sizeOf(shape.slice(0, axis));
  for (let outer = 0; outer < outerExtent; outer++)
    for (let inner = 0; inner < innerExtent; inner++) yield { outer, inner, extent, innerExtent };
}

function at(row: Row, i: number, extent: number): number {
  return (row.outer * extent + i) * row.innerExtent + row.inner;
}

function put(values: Values | undefined, i: number, value: number | bigint): void {
  if (values === undefined) return;
  if (values.data instanceof BigInt64Array) values.data[i] = BigInt(value);
  else values.data[i] = Number(value);
}

/** Ascending, NaN last, equal ones in their order. */
function ascending(a: number | bigint, b: number | bigint): number {
  if (a !== a) return b !== b ? 0 : 1;
  if (b !== b) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function topkRow(x: Values, keep: Values | undefined, row: Row, outputs: readonly Values[]): void {
  const [values, index, mask] = outputs;
  const read = (i: number): number | bigint => x.data[at(row, i, row.extent)] ?? 0;
  const kept = (i: number): boolean => keep === undefined || Number(keep.data[at(row, i, row.extent)]) !== 0;
  const order = Array.from({ length: row.extent }, (_, i) => i).sort((a, b) => {
    if (kept(a) !== kept(b)) return kept(a) ? -1 : 1;
    if (!kept(a)) return a - b;
    const [va, vb] = [read(a), read(b)];
    if (va !== va || vb !== vb) return ascending(va, vb) || a - b;
    return ascending(vb, va) || a - b;
  });
  const k =
    values === undefined ? 0 : values.data.length / Math.max(1, x.data.length / Math.max(1, row.extent));
  for (let j = 0; j < k; j++) {
    const i = order[j] ?? 0;
    put(values, at(row, j, k), read(i));
    put(index, at(row, j, k), i);
    put(mask, at(row, i, row.extent), 1);
  }
  if (x.error !== undefined) topkErrors(x, row, order, k, outputs);
}

function topkErrors(
  x: Values,
  row: Row,
  order: readonly number[],
  k: number,
  outputs: readonly Values[],
): void {
  const [values, index, mask] = outputs;
  const error = (i: number): number => x.error?.[at(row, i, row.extent)] ?? 0;
  const value = (i: number): number => Number(x.data[at(row, i, row.extent)] ?? 0);
  const worst = order.reduce((most, i) => Math.max(most, error(i)), 0);
  if (worst === 0) return;
  const near = (a: number, b: number): boolean =>
    a === b || !(Math.abs(value(a) - value(b)) > error(a) + error(b));
  for (let j = 0; j < k; j++) {
    const i = order[j] ?? 0;
    if (values?.error !== undefined) values.error[at(row, j, k)] = worst;
    const rivals = order.filter((other) => near(i, other));
    if (index?.error !== undefined)
      index.error[at(row, j, k)] = rivals.reduce((most, other) => Math.max(most, Math.abs(other - i)), 0);
  }
  order.forEach((i, rank) => {
    const chosen = rank < k;
    const rivals = order.some((other, r) => r < k !== chosen && near(i, other));
    if (mask?.error !== undefined && rivals) mask.error[at(row, i, row.extent)] = 1;
  });
}

function scanRow(x: Values, row: Row, outputs: readonly Values[]): void {
  const [out] = outputs;
  invariant(out !== undefined, "a scan has an output");
  const wrap =
    out.dtype === "i32"
      ? (v: number): number => v | 0
      : out.dtype === "u32"
        ? (v: number): number => v >>> 0
        : (v: number): number => v;
  let [sum, big, magnitude, carried] = [0, 0n, 0, 0];
  for (let i = 0; i < row.extent; i++) {
    const offset = at(row, i, row.extent);
    const value = x.data[offset] ?? 0;
    if (typeof value === "bigint") {
      big = BigInt.asIntN(64, big + value);
      put(out, offset, big);
      continue;
    }
    sum = wrap(sum + value);
    magnitude += Math.abs(value);
    carried += x.error?.[offset] ?? 0;
    put(out, offset, sum);
    if (out.error !== undefined)
      out.error[offset] = carried + (out.dtype === "f32" ? i * 2 ** -23 * (magnitude + carried) : 0);
  }
}

function sortRow(x: Values, row: Row, outputs: readonly Values[]): void {
  const [out] = outputs;
  const order = Array.from({ length: row.extent }, (_, i) => at(row, i, row.extent));
  const worst = order.reduce((most, offset) => Math.max(most, x.error?.[offset] ?? 0), 0);
  const sorted = order.map((offset) => x.data[offset] ?? 0).sort(ascending);
  sorted.forEach((value, i) => {
    put(out, order[i] ?? 0, value);
    if (out?.error !== undefined) out.error[order[i] ?? 0] = worst;
  });
}

function dispatchRows(
  index: Values,
  experts: number,
  align: number,
  outputs: readonly Values[],
  refuse: (index: number) => void,
  bounds: "clamp" | "error",
): void {
  const [position, source, expert, start, count] = outputs;
  const copies = Array.from(index.data, Number);
  position?.data.forEach((_, i) => put(position, i, -1));
  source?.data.forEach((_, i) => put(source, i, -1));
  expert?.data.forEach((_, i) => put(expert, i, experts));
  const outside = copies.find((e) => e >= experts);
  if (outside !== undefined && bounds === "error") refuse(outside);
  let row = 0;
  for (let e = 0; e < experts; e++) {
    const first = row;
    copies.forEach((wanted, copy) => {
      if (wanted !== e) return;
      put(position, copy, row);
      put(source, row, copy);
      row += 1;
    });
    put(start, e, first);
    put(count, e, row - first);
    row = Math.ceil(row / align) * align;
    for (let block = first / align; block < row / align; block++) put(expert, block, e);
  }
}
