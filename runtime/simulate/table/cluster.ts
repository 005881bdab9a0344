/** Clusters, dependent launches and register budgets (PTX ISA 9.7.13.4, 9.7.12, 9.7.19.5). */
import { SimulateError } from "../finding.ts";
import type { Site } from "../compile/site.ts";
import { initialRegisters } from "../machine/budget.ts";
import { arriveAtCluster, describeCluster, waitAtCluster } from "../machine/cluster.ts";
import { endOfPredecessor, signalDependents } from "../machine/dependents.ts";
import { findAt } from "../machine/findings.ts";
import { wake } from "../machine/sync.ts";
import type { Block, Split, Warp } from "../machine/warp.ts";
import { checkAligned } from "./barrier.ts";
import type { Attempt, Step, WaitRow, WarpRow } from "./row.ts";

function bindArrive(site: Site): Step {
  const relaxed = site.choices["sem"] === "relaxed";
  const aligned = site.choices["aligned"] !== undefined;
  return (w, mask) => {
    if (aligned) checkAligned(w, mask, site);
    arriveAtCluster(w, mask, site, relaxed);
  };
}

function bindWait(site: Site): Attempt {
  const aligned = site.choices["aligned"] !== undefined;
  return (w, mask) => {
    const split = w.machine.current!;
    if (split.waiting === undefined && aligned) checkAligned(w, mask, site);
    split.waiting = undefined;
    if (waitAtCluster(w, mask, site)) return true;
    w.block.cluster.barrier.waiters.push(split);
    split.waiting = { site: site.id, ready: false, result: 0, what: () => describeCluster(w) };
    return false;
  };
}

/** Splits that wait for registers, by block. */
const hungry = new WeakMap<Block, Split[]>();

function registersOf(block: Block, index: number): number {
  return block.registerBudget[index]! || initialRegisters(block.grid);
}

/** Registers a thread may still get: what the block began with less what its warps hold. */
function available(w: Warp): number {
  const { block } = w;
  let held = 0;
  for (const other of block.warps) if (other !== w) held += registersOf(block, other.index);
  return initialRegisters(block.grid) * block.warps.length - held;
}

/** `setmaxnreg`: all warps of a warpgroup execute it; `.inc` waits until the registers are free (9.7.19.5). */
function bindSetMax(site: Site): Attempt {
  const [count] = site.operands;
  if (count?.kind !== "integer")
    throw new SimulateError(`${site.instruction.text}: the count must be a constant`, site.instruction.line);
  const registers = Number(count.value);
  const grows = site.choices["way"] === "inc";
  return (w, mask) => {
    const split = w.machine.current!;
    if (split.waiting === undefined) {
      checkAligned(w, mask, site);
      if (registers % 8 !== 0 || registers < 24 || registers > 256) {
        findAt(
          w,
          mask,
          site.id,
          "register-budget",
          `setmaxnreg takes a multiple of 8 from 24 to 256, not ${registers}`,
        );
      }
      const now = registersOf(w.block, w.index);
      if (grows ? registers < now : registers > now) {
        findAt(
          w,
          mask,
          site.id,
          "register-budget",
          `setmaxnreg.${site.choices["way"]} to ${registers}, while the warp has ${now} registers a thread`,
        );
      }
    }
    split.waiting = undefined;
    const waiters = hungry.get(w.block) ?? [];
    hungry.set(w.block, waiters);
    if (grows && registers > available(w)) {
      waiters.push(split);
      split.waiting = {
        site: site.id,
        ready: false,
        result: 0,
        what: () => `registers: ${registers} a thread, and the block has ${available(w)} left for this warp`,
      };
      return false;
    }
    w.block.registerBudget[w.index] = registers;
    w.registerCap = registers;
    for (const waiter of waiters.splice(0)) wake(waiter);
    return true;
  };
}

/** Any thread of a block says it for the block. */
function bindLaunchDependents(): Step {
  return (w) => signalDependents(w.block);
}

function bindWaitPredecessor(site: Site): Attempt {
  return (w) => {
    const split = w.machine.current!;
    split.waiting = undefined;
    if (endOfPredecessor(w)) return true;
    const { predecessor } = w.block.grid;
    predecessor!.dependents!.waiters.push(split);
    split.waiting = {
      site: site.id,
      ready: false,
      result: 0,
      what: () => `grid ${predecessor!.number} to end`,
    };
    return false;
  };
}

export const clusterRows: readonly (WarpRow | WaitRow)[] = [
  {
    pattern: "barrier.cluster.arrive.sem?release|relaxed.aligned?aligned",
    section: "9.7.13.4",
    writes: [],
    bind: bindArrive,
  },
  {
    pattern: "barrier.cluster.wait.sem?acquire.aligned?aligned",
    section: "9.7.13.4",
    writes: [],
    attempt: bindWait,
  },
  {
    pattern: "setmaxnreg.way:inc|dec.sync.aligned.u32",
    section: "9.7.19.5",
    writes: [],
    attempt: bindSetMax,
  },
  {
    pattern: "griddepcontrol.launch_dependents",
    section: "9.7.13.14",
    writes: [],
    alone: true,
    bind: bindLaunchDependents,
  },
  { pattern: "griddepcontrol.wait", section: "9.7.13.14", writes: [], attempt: bindWaitPredecessor },
];
