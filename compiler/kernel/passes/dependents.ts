/**
 * A kernel of a plan that has several: the one after it may begin while it still runs, and it waits for the one before
 * it just before it first touches global memory. What needs no memory, such as barriers and addresses, is done by then.
 */
import type { Caps, Kernel, Op } from "../ir.ts";
import { collectOps, partsOf } from "../walk.ts";

export interface Neighbours {
  /** There is a launch ahead in the plan's run. */
  readonly hasPredecessor: boolean;
  readonly hasSuccessor: boolean;
}

const launchNext: Op<"instruction"> = {
  kind: "instruction",
  name: "dependents.launch",
  dst: [],
  operands: [],
};
const awaitPrevious: Op<"instruction"> = {
  kind: "instruction",
  name: "predecessor.await",
  dst: [],
  operands: [],
};

/** As it is where the target has no such launches. Runs last, so that no load is moved ahead of the wait. */
export function besideOthers(
  kernel: Kernel,
  { hasPredecessor, hasSuccessor }: Neighbours,
  caps: Caps,
): Kernel {
  if (![launchNext, awaitPrevious].every(({ name }) => caps.instructions.includes(name))) return kernel;
  const waiting = hasPredecessor ? waitingBody(kernel.body) : kernel.body;
  return { ...kernel, body: hasSuccessor ? signalling(waiting) : waiting };
}

/** Whether the kernel may begin before the launch ahead has ended: what it only reads is written until it has waited. */
export function mayBeginEarly({ body }: Kernel): boolean {
  return collectOps(body, "instruction").some(({ name }) => name === awaitPrevious.name);
}

/**
 * Those after may begin once a block has loaded what it needs. Earlier they gather on the units that have no block of this
 * kernel, and stay there: a merge of attention's parts took 2.6 us longer so. A kernel of roles loads to its end, and ends
 * without saying anything. H200.
 */
function signalling(ops: readonly Op[]): readonly Op[] {
  if (ops.some(({ kind }) => kind === "roles")) return ops;
  const last = ops.findLastIndex(readsGlobal);
  return [...ops.slice(0, last + 1), launchNext, ...ops.slice(last + 1)];
}

function readsGlobal(op: Op): boolean {
  const { buffers, bodies } = partsOf(op);
  const isRead = op.kind !== "store" && buffers.some(({ space }) => space === "global");
  return isRead || bodies.some((body) => body.some(readsGlobal));
}

/** Each role waits by itself: none of its threads goes on for another's having waited. */
function waitingBody(ops: readonly Op[]): readonly Op[] {
  const first = ops.findIndex(touchesGlobal);
  const op = ops[first];
  if (op === undefined) return ops;
  if (op.kind === "roles") {
    const roles = op.roles.map((role) => ({ ...role, body: waitingBody(role.body) }));
    return ops.with(first, { ...op, roles });
  }
  return [...ops.slice(0, first), awaitPrevious, ...ops.slice(first)];
}

function touchesGlobal(op: Op): boolean {
  const { buffers, bodies } = partsOf(op);
  return buffers.some(({ space }) => space === "global") || bodies.some((body) => body.some(touchesGlobal));
}
