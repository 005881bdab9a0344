/** Puts the inputs of a node into their one order: each read once, in order of first use by the bodies. */
import type { Arena } from "./arena.ts";
import type { Ref, Scalar } from "./ir.ts";
import { refsOf } from "./refs.ts";
import { rewriteScalars } from "./scalars.ts";

/** The inputs, which are the arena's own refs, in order, and the rewritten bodies, or undefined where these are as they were. The first `pinned` stay. */
export function canonicalInputs(
  arena: Arena,
  inputs: readonly Ref[],
  roots: readonly Scalar[],
  pinned: number,
): { readonly inputs: readonly Ref[]; readonly map: readonly Scalar[] | undefined } {
  const first = arena.inputOrder(roots);
  if (pinned === 0 && isInOrder(first, inputs)) return { inputs, map: undefined };
  const order: number[] = [];
  for (let i = 0; i < pinned; i++) order.push(i);
  const position = new Int32Array(inputs.length).fill(-1);
  for (let i = 0; i < pinned; i++) position[i] = i;
  for (const input of first) {
    if ((position[input] ?? -1) >= 0) continue;
    // A ref that stands twice in the list is one input; a scatter may read what it writes over.
    const twin = order.find((i) => inputs[i] === inputs[input]);
    position[input] = twin === undefined ? order.push(input) - 1 : (position[twin] ?? 0);
  }
  const moved = order.length !== inputs.length || order.some((from, to) => from !== to);
  if (!moved) return { inputs, map: undefined };
  const kept = refsOf(order, (i) => inputs[i] as Ref);
  const map = rewriteScalars(arena, roots, (s) =>
    s.kind === "read" ? arena.readAt(position[s.input] ?? 0, s.type, s.index, s.bounds, s.otherwise) : s,
  );
  return { inputs: kept, map };
}

/** Whether all inputs are read, each is met first at its own position, and no two are one. */
function isInOrder(order: readonly number[], inputs: readonly Ref[]): boolean {
  if (order.length !== inputs.length) return false;
  for (let i = 0; i < order.length; i++) {
    if (order[i] !== i) return false;
    for (let k = 0; k < i; k++) if (inputs[k] === inputs[i]) return false;
  }
  return true;
}
