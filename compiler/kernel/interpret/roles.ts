/**
 * Roles take turns: each runs until it waits for what has not come. When none can go on, the oldest load under way is
 * written, so that it comes as late as it can; when there is none either, the kernel is stuck.
 */
import { instructionOf, isInstruction } from "../instructions.ts";
import type { Block } from "../interpret.ts";
import type { Op } from "../ir.ts";
import { partsOf } from "../walk.ts";
import type { Role } from "./order.ts";

/** What a role waits for. */
export interface Wait {
  readonly isOver: () => boolean;
  /** For the message where it never is. */
  readonly what: () => string;
}

export type Flow = Generator<Wait, void, void>;

export interface RoleRun {
  readonly role: Role;
  readonly body: readonly Op[];
}

export function drive(block: Block, runs: readonly RoleRun[]): void {
  let running = runs.map(({ role, body }) => ({
    role,
    flow: block.flow(body, role.threads),
    wait: undefined as Wait | undefined,
  }));
  while (running.length > 0) {
    let hasMoved = false;
    const next: typeof running = [];
    for (const run of running) {
      block.enter(run.role);
      if (run.wait !== undefined && !run.wait.isOver()) {
        next.push(run);
        continue;
      }
      hasMoved = true;
      const { done, value } = run.flow.next();
      if (done !== true) next.push({ ...run, wait: value });
    }
    running = next;
    if (hasMoved || block.engine.advance()) continue;
    block.fault(
      `nobody can go on: ${running.map(({ role, wait }) => `${role.name} waits for ${wait?.what() ?? "nothing"}`).join("; ")}`,
    );
  }
}

const known = new WeakMap<Op, boolean>();

/** True where threads may have to wait for others than those that run with them. */
export function suspends(op: Op): boolean {
  if (op.kind === "instruction")
    return isInstruction(op.name) && instructionOf(op.name).isReady !== undefined;
  if (op.kind !== "for" && op.kind !== "if") return false;
  let found = known.get(op);
  if (found === undefined) known.set(op, (found = partsOf(op).bodies.some((body) => body.some(suspends))));
  return found;
}
