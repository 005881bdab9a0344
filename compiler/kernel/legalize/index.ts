/**
 * Brings a kernel into what a target has, by its `Caps`: the same result, in fewer words. The order:
 * 64-bit integers first, since they become u32 that all other passes know; conversions before storage, which takes
 * packed types for bit patterns; splitting last, when every access has its final element.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Caps, Kernel } from "../ir.ts";
import { visitOps } from "../walk.ts";
import { expandConverts } from "./converts.ts";
import { splitInt64 } from "./int64.ts";
import { packStorage } from "./storage.ts";
import { expandUnary } from "./unary.ts";
import { removeUnused } from "./unused.ts";
import { splitVectors } from "./vectors.ts";

type Pass = (kernel: Kernel, caps: Caps) => Kernel;

const passes: readonly Pass[] = [
  splitInt64,
  expandUnary,
  expandConverts,
  packStorage,
  splitVectors,
  removeUnused,
];

export function legalize(kernel: Kernel, caps: Caps): Kernel {
  checkLimits(kernel, caps);
  return passes.reduce((current, pass) => pass(current, caps), kernel);
}

/** What a schedule has to keep to: no rewrite can mend it. */
function checkLimits(kernel: Kernel, caps: Caps): void {
  invariant(
    kernel.threads <= caps.maxThreads,
    `${kernel.name}: ${kernel.threads} threads, and ${caps.target} has ${caps.maxThreads}`,
  );
  const global = kernel.buffers.filter((buffer) => buffer.space === "global");
  invariant(
    global.length <= caps.maxBuffers,
    `${kernel.name}: ${global.length} buffers, and ${caps.target} has ${caps.maxBuffers}`,
  );
  visitOps(kernel.body, (op) => {
    const shuffles = op.kind === "shuffle-xor" || op.kind === "shuffle-index";
    invariant(
      !shuffles || caps.subgroup > 1,
      `${kernel.name}: a shuffle, and ${caps.target} has no subgroups`,
    );
    invariant(
      op.kind !== "instruction" || caps.instructions.includes(op.name),
      `${kernel.name}: ${caps.target} lacks the instruction`,
    );
    invariant(
      !(op.kind === "roles" || (op.kind === "barrier" && op.group !== undefined)) ||
        caps.instructions.length > 0,
      `${kernel.name}: ${op.kind} of a part of the block, and ${caps.target} has barriers of blocks only`,
    );
  });
}
