/**
 * Roles take turns: each runs until it waits for what has not come. When none can go on, the oldest load under way is
 * written, so that it comes as late as it can; when there is none either, the kernel is stuck.
 */
import { instructionOf, isInstruction } from "../instructions.ts";
import type { Block } from "./block.ts";
import type { Op } from "../ir.ts";
import { partsOf } from "../walk.ts";
import type { Role } from "./order.ts";

/** What a role waits for. */
export interface Wait {
  readonly isOver: () => boolean;
  /** For the message where it never is. */
  readonly what: () => string;
  /** `what` says already who waits. */
  readonly isParted?: boolean;
}

export type Flow = Generator<Wait, void, void>;

export interface RoleRun {
  readonly role: Role;
  readonly body: readonly Op[];
}

/** The runs in turn; yields where none of them can go on. */
export function* flowOf(block: Block, runs: readonly RoleRun[]): Flow {
  let running = runs.map(({ role, body }) => ({
    role,
    flow: block.flow(body, role.threads),
    wait: undefined as Wait | undefined,
  }));
  const isOver = ({ role, wait }: (typeof running)[number]): boolean => {
    block.enter(role);
    return wait === undefined || wait.isOver();
  };
  const what = (): string =>
    running
      .map(({ role, wait }) =>
        wait?.isParted === true ? wait.what() : `${role.name} waits for ${wait?.what() ?? "nothing"}`,
      )
      .join("; ");
  while (running.length > 0) {
    let hasMoved = false;
    const next: typeof running = [];
    for (const run of running) {
      if (!isOver(run)) {
        next.push(run);
        continue;
      }
      hasMoved = true;
      const { done, value } = run.flow.next();
      if (done !== true) next.push({ ...run, wait: value });
    }
    running = next;
    if (!hasMoved) yield { isParted: true, isOver: () => running.some(isOver), what };
  }
}

/** Blocks in turn, to their ends. */
export function drive(blocks: readonly Block[]): void {
  let running = blocks.map((block) => ({ block, flow: block.whole(), wait: undefined as Wait | undefined }));
  while (running.length > 0) {
    let hasMoved = false;
    const next: typeof running = [];
    for (const run of running) {
      if (run.wait !== undefined && !run.wait.isOver()) {
        next.push(run);
        continue;
      }
      hasMoved = true;
      const { done, value } = run.flow.next();
      if (done !== true) next.push({ ...run, wait: value });
    }
    running = next;
    if (hasMoved || blocks.some((block) => block.engine.advance())) continue;
    const [first] = running;
    first?.block.fault(`nobody can go on: ${running.map(({ wait }) => wait?.what() ?? "").join("; ")}`);
  }
}

const known = new WeakMap<Op, boolean>();

/** True where threads may have to wait for others than those that run with them. */
export function suspends(op: Op): boolean {
  if (op.kind === "instruction")
    return isInstruction(op.name) && instructionOf(op.name).isReady !== undefined;
  if (op.kind === "roles") return true;
  if (op.kind !== "for" && op.kind !== "if") return false;
  let found = known.get(op);
  if (found === undefined) known.set(op, (found = partsOf(op).bodies.some((body) => body.some(suspends))));
  return found;
}
