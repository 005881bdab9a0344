/**
 * Whether a program gives the same bits again: in another run, and for the same rows in a batch of another size.
 *
 * Every sum of a compiled program has one order, which its text fixes: partial sums of threads and blocks are added in the
 * order of their numbers, whoever comes first, and none is added atomically. So runs agree. Batches agree where the order
 * does not depend on the batch's size, which is found out by compiling for other sizes and comparing orders.
 */
import type { Graph } from "../tensor/ir.ts";
import { topological } from "../tensor/graphs.ts";

export interface BatchReport {
  /** The size's name in the source. */
  readonly dim: string;
  /** What it was compiled for; `same`: sums have the order that they have at the size asked about. */
  readonly sizes: readonly {
    readonly size: number;
    readonly same: boolean;
    readonly orders: readonly string[];
  }[];
  readonly bitwise: boolean;
  readonly reason: string;
}

export interface Reproducibility {
  readonly runs: { readonly bitwise: boolean; readonly reason: string };
  readonly batches: readonly BatchReport[];
}

/** Sizes that a batch is tried at, beside its own. */
export const triedSizes: readonly number[] = [1, 128, 1024, 8192];

/** Names of sizes that loops run over and no reduction does: what may be more or fewer without another meaning. */
export function batchDims(graph: Graph): readonly string[] {
  const [free, reduced] = [new Set<string>(), new Set<string>()];
  for (const node of topological(graph)) {
    if (node.kind !== "loop" && node.kind !== "scatter") continue;
    for (const { size } of node.axes) if (size !== undefined) free.add(size);
    if (node.kind !== "loop") continue;
    for (const { size } of [...node.over, ...node.inner]) if (size !== undefined) reduced.add(size);
  }
  return [...free].filter((name) => !reduced.has(name));
}

/** `orders`: of the sums of each kernel, for the size asked about and for each that was tried. */
export function batchReport(
  dim: string,
  own: { readonly size: number; readonly orders: readonly string[] },
  tried: readonly { readonly size: number; readonly orders: readonly string[] }[],
): BatchReport {
  const sizes = [own, ...tried]
    .sort((a, b) => a.size - b.size)
    .map((one) => ({ ...one, same: isSame(one.orders, own.orders) }));
  const [like, unlike] = [sizes.filter(({ same }) => same), sizes.filter(({ same }) => !same)];
  const list = (some: typeof sizes): string => some.map(({ size }) => size).join(", ");
  if (own.orders.length === 0) return { dim, sizes, bitwise: true, reason: "nothing is summed" };
  const [other] = unlike;
  if (other === undefined)
    return { dim, sizes, bitwise: true, reason: `sums have one order at ${dim} = ${list(like)}` };
  const why =
    own.orders.length === other.orders.length
      ? "sums have another order"
      : `sums are split otherwise (${kernels(other.orders.length)} with sums at ${other.size}, ${own.orders.length} at ${own.size})`;
  const reason = `${why} at ${dim} = ${list(unlike)}, and this one at ${list(like)}`;
  return { dim, sizes, bitwise: false, reason };
}

function kernels(count: number): string {
  return count === 1 ? "1 kernel" : `${count} kernels`;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((order, k) => order === b[k]);
}

export const runsReport: Reproducibility["runs"] = {
  bitwise: true,
  reason: "every sum has one order, fixed when it was compiled; nothing is added atomically",
};
