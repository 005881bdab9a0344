/**
 * Lets asynchronous products run on while the next ones are issued.
 *
 * A loop whose body ends in `await 0` and releases, and perhaps fills, waits for its own product in each iteration.
 * Instead it may wait for the one before: the products of an iteration stay pending over its end, what they read is
 * released one iteration later, and the last of them are awaited after the loop. Releases are in order, so each gives
 * back the slot that the awaited product has read.
 */
import * as t from "./build.ts";
import type { TileOp, TileProgram } from "./ir.ts";
import { bodiesOf, withBodies } from "./walk.ts";

export function overlap(program: TileProgram): TileProgram {
  return { ...program, body: overlapOps(program.body) };
}

function overlapOps(ops: readonly TileOp[]): TileOp[] {
  return ops.flatMap((op) => {
    const inner = withBodies(
      op,
      bodiesOf(op).map((body) => overlapOps(body)),
    );
    return inner.kind === "for" ? overlapLoop(inner) : [inner];
  });
}

function overlapLoop(loop: Extract<TileOp, { kind: "for" }>): TileOp[] {
  const end = loop.body.findIndex((op) => op.kind === "await" && op.pending === 0);
  const after = loop.body.slice(end + 1);
  const others = after.findIndex((op) => op.kind !== "release");
  const releases = others < 0 ? after : after.slice(0, others);
  const fills = after.slice(releases.length);
  const products = loop.body.slice(0, Math.max(end, 0)).filter((op) => op.kind === "mma").length;
  const isPlain =
    releases.every((op) => op.kind === "release" && op.where === undefined) && fills.every(onlyFills);
  if (end < 0 || products === 0 || releases.length === 0 || !isPlain) return [loop];
  const { from = t.int(0), below } = loop;
  const hasPrevious = t.less(from, t.at(loop.counter));
  const body: TileOp[] = [
    ...loop.body.slice(0, end),
    { kind: "await", pending: products },
    ...releases.map((op) => (op.kind === "release" ? { ...op, where: hasPrevious } : op)),
    ...fills,
  ];
  // A loop that did not run has taken nothing.
  const hasRun =
    loop.from === undefined && below === undefined
      ? undefined
      : t.less(from, below ?? t.size(loop.counter.count));
  const last = releases.map((op) => (op.kind === "release" ? { ...op, where: hasRun } : op));
  return [{ ...loop, body }, { kind: "await", pending: 0 }, ...last];
}

function onlyFills(op: TileOp): boolean {
  return op.kind === "fill" || (op.kind === "if" && bodiesOf(op).every((body) => body.every(onlyFills)));
}
