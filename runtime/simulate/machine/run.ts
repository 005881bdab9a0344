/** Runs the splits of a machine until all have exited or none can go on. */
import { finish } from "./async.ts";
import { exitLanes, startCluster } from "./block.ts";
import { mayStart } from "./dependents.ts";
import { addFinding, findAt, lanesText, sideOfSite, warpName } from "./findings.ts";
import type { Grid, Machine } from "./machine.ts";
import { checkRegisters } from "./wgmma-registers.ts";
import type { Segment } from "../compile/segment.ts";
import { bindRead } from "./address.ts";
import type { Join, Split, Warp } from "./warp.ts";

/** Polls without any change, by every split that can run, after which nothing will ever change. */
const patience = 400;

export function runMachine(machine: Machine): void {
  for (;;) {
    const { runnable, pending } = machine;
    const total = runnable.length + pending.length;
    const grid = startable(machine);
    if (total === 0) {
      if (grid === undefined) break;
      startCluster(machine, grid);
      continue;
    }
    // A grid that may begin before its predecessor has ended has little time to do so.
    const odds = grid?.predecessor === undefined ? 8 : 2;
    if (grid !== undefined && machine.schedule.choose(odds) === odds - 1) {
      startCluster(machine, grid);
      continue;
    }
    const pick = machine.schedule.choose(total);
    if (pick >= runnable.length) {
      finish(machine, pending[pick - runnable.length]!);
      continue;
    }
    // Choice 0 goes on with the split that ran last; the others follow in the order in which they became ready.
    const current = machine.current === undefined ? -1 : runnable.indexOf(machine.current);
    const first = current < 0 || machine.yield ? (current + 1) % runnable.length : current;
    const split = runnable[(first + pick) % runnable.length]!;
    machine.yield = false;
    machine.current = split;
    runSplit(machine, split, [2000, 1, 4, 16][machine.schedule.choose(4)]!);
    if (machine.steps > machine.options.maxSteps) {
      findAtSplit(machine, split, "step-limit", `the launch ran ${machine.steps} segments without an end`);
      return;
    }
    if (split.polls > patience && stuck(machine)) return;
  }
  if (machine.waiting.size > 0) reportDeadlock(machine);
}

/** A grid that has a cluster to start and room for it. */
function startable(machine: Machine): Grid | undefined {
  for (const grid of machine.grids) {
    if (grid.aborted || grid.started === grid.clusters || grid.live.size >= grid.resident) continue;
    if (mayStart(grid)) return grid;
  }
  return undefined;
}

/** All splits poll, nothing is in flight: copies land first, then there is nothing left to hope for. */
function stuck(machine: Machine): boolean {
  if (machine.runnable.some((split) => split.polls <= patience)) return false;
  const [operation] = machine.pending;
  if (operation !== undefined) {
    finish(machine, operation);
    return false;
  }
  const grid = startable(machine);
  if (grid !== undefined) {
    startCluster(machine, grid);
    return false;
  }
  const split = machine.runnable[0]!;
  findAtSplit(
    machine,
    split,
    "livelock",
    "every warp that can run polls for something that no one will do",
    waitingList(machine),
  );
  return true;
}

function siteOfSplit(split: Split): number {
  const { kernel, number } = split.warp.block.grid;
  const segment = kernel.segments[split.segment]!;
  const end = segment.end.kind === "next" ? undefined : segment.end.site;
  const site = split.waiting?.site ?? segment.sites[0]?.id ?? end?.id ?? 0;
  return (number << 16) | site;
}

function findAtSplit(
  machine: Machine,
  split: Split,
  code: "livelock" | "deadlock" | "step-limit",
  message: string,
  details: readonly string[] = [],
): void {
  const site = siteOfSplit(split);
  addFinding(machine, {
    code,
    message: () => message,
    site,
    at: () => sideOfSite(machine, site, `${warpName(split.warp)} ${lanesText(split.mask)}`),
    details: () => details,
  });
}

function waitingList(machine: Machine): string[] {
  const describe = (split: Split): string => {
    const { instruction } = split.warp.block.grid.kernel.sites[siteOfSplit(split) & 0xffff]!;
    const what = split.waiting?.what() ?? `polls at ${instruction.text}`;
    return `${warpName(split.warp)} ${lanesText(split.mask)} (PTX line ${instruction.line}) waits for ${what}`;
  };
  const list = [...machine.waiting, ...machine.runnable].map(describe);
  return list.length > 40 ? [...list.slice(0, 40), `and ${list.length - 40} more`] : list;
}

function reportDeadlock(machine: Machine): void {
  const [split] = machine.waiting;
  findAtSplit(
    machine,
    split!,
    "deadlock",
    `${machine.waiting.size} warps wait, and nothing is left that could wake them`,
    waitingList(machine),
  );
}

function popcount(mask: number): number {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
}

function runSplit(machine: Machine, split: Split, budget: number): void {
  const { warp } = split;
  const { grid } = warp.block;
  const { segments, usesWgmma } = grid.kernel;
  const { runs, lanes } = grid;
  for (let left = budget; left > 0; left--) {
    if (grid.aborted) {
      remove(machine, split);
      return;
    }
    const segment = segments[split.segment]!;
    if (split.waiting === undefined) {
      machine.steps++;
      runs[segment.index]!++;
      lanes[segment.index]! += popcount(split.mask);
      if (usesWgmma) checkRegisters(warp, segment);
      if (warp.registerCap !== 0 && segment.live > warp.registerCap) reportRegisters(warp, segment);
      segment.run(warp, split.mask);
    }
    const next = follow(machine, split, segment);
    if (next < 0) return;
    if (!arriveAt(machine, split, next)) return;
    if (machine.yield) return;
  }
  // Even in plain order no warp runs for ever while others wait for their turn.
  machine.yield = true;
}

function reportRegisters(warp: Warp, segment: Segment): void {
  const end = segment.end.kind === "next" ? undefined : segment.end.site;
  const site = segment.sites[0]?.id ?? end?.id ?? 0;
  findAt(
    warp,
    warp.live,
    site,
    "register-budget",
    `the accumulators and fragments of wgmma alone take ${segment.live} registers of a thread, which has ${warp.registerCap} since setmaxnreg`,
  );
}

/** Takes the split past the end of its segment; the next segment, or -1 when the split waits or is gone. */
function follow(machine: Machine, split: Split, segment: Segment): number {
  const { end } = segment;
  const { warp } = split;
  switch (end.kind) {
    case "next":
      return end.next;
    case "branch": {
      const word = warp.I[end.guard.register.base]!;
      const taken = split.mask & (end.guard.negated ? ~word : word);
      if (taken === split.mask) return end.taken;
      if (taken === 0) return end.next;
      diverge(machine, split, segment, [
        [end.taken, taken],
        [end.next, split.mask & ~taken],
      ]);
      return -1;
    }
    case "indexed": {
      const read = bindRead(end.site, end.selector);
      const parts = new Map<number, number>();
      for (let l = 0; l < 32; l++) {
        if (!((split.mask >>> l) & 1)) continue;
        const target = end.targets[read(warp, l)];
        if (target !== undefined) parts.set(target, (parts.get(target) ?? 0) | (1 << l));
      }
      if (parts.size === 1) return [...parts.keys()][0]!;
      diverge(machine, split, segment, [...parts]);
      return -1;
    }
    case "exit":
      retire(machine, split);
      return -1;
    case "trap":
      addFinding(machine, {
        code: "trap",
        message: () => "the kernel trapped",
        site: (warp.block.grid.number << 16) | end.site.id,
        at: () =>
          sideOfSite(
            machine,
            (warp.block.grid.number << 16) | end.site.id,
            `${warpName(warp)} ${lanesText(split.mask)}`,
          ),
      });
      abort(machine, warp.block.grid);
      return -1;
    case "wait":
      if (end.attempt(warp, split.mask)) return end.next;
      if (split.waiting !== undefined) {
        split.waiting.ready = false;
        remove(machine, split);
        machine.waiting.add(split);
      }
      return -1;
  }
}

function abort(machine: Machine, grid: Grid): void {
  grid.aborted = true;
  for (const split of machine.waiting) if (split.warp.block.grid === grid) machine.waiting.delete(split);
  const others = machine.runnable.filter((split) => split.warp.block.grid !== grid);
  machine.runnable.splice(0, machine.runnable.length, ...others);
  for (const other of machine.grids) if (other.predecessor === grid) abort(machine, other);
}

function remove(machine: Machine, split: Split): void {
  const at = machine.runnable.indexOf(split);
  if (at >= 0) machine.runnable.splice(at, 1);
}

function dropSplit(machine: Machine, split: Split): void {
  remove(machine, split);
  const { splits } = split.warp;
  splits.splice(splits.indexOf(split), 1);
}

function addSplit(machine: Machine, warp: Warp, mask: number, segment: number, join: Join | undefined): void {
  const split: Split = { warp, mask, segment, join, waiting: undefined, polls: 0, polled: new Map() };
  warp.splits.push(split);
  machine.runnable.push(split);
  machine.current = split;
}

/** Lanes part, to meet again at the immediate post-dominator of the branch. */
function diverge(
  machine: Machine,
  split: Split,
  segment: Segment,
  parts: readonly (readonly [number, number])[],
): void {
  const { warp, mask } = split;
  let { join } = split;
  // A loop whose lanes leave one by one meets at the same place each time: the same join serves.
  if (segment.reconverge >= 0 && join?.segment !== segment.reconverge) {
    join = { segment: segment.reconverge, expected: mask, arrived: 0, outer: join };
  }
  dropSplit(machine, split);
  const order = machine.schedule.choose(parts.length);
  for (let i = 0; i < parts.length; i++) {
    const [target, lanes] = parts[(i + order) % parts.length]!;
    if (join !== undefined && target === join.segment) arriveLanes(machine, warp, join, lanes);
    else addSplit(machine, warp, lanes, target, join);
  }
}

/** Moves a split to its next segment; false when it has gone into a join there. */
function arriveAt(machine: Machine, split: Split, next: number): boolean {
  split.segment = next;
  const { join } = split;
  if (join === undefined || join.segment !== next) return true;
  if (join.arrived === 0 && join.expected === split.mask) {
    split.join = join.outer;
    return arriveAt(machine, split, next);
  }
  dropSplit(machine, split);
  arriveLanes(machine, split.warp, join, split.mask);
  return false;
}

function arriveLanes(machine: Machine, warp: Warp, join: Join, mask: number): void {
  join.arrived |= mask;
  releaseJoin(machine, warp, join);
}

function releaseJoin(machine: Machine, warp: Warp, join: Join): void {
  if (join.arrived === 0 || join.arrived !== join.expected) return;
  const mask = join.arrived;
  join.arrived = 0;
  join.expected = 0;
  const { outer } = join;
  if (outer !== undefined && outer.segment === join.segment) arriveLanes(machine, warp, outer, mask);
  else addSplit(machine, warp, mask, join.segment, outer);
}

/** The lanes of the split exit: no join waits for them any more. */
function retire(machine: Machine, split: Split): void {
  const { warp, mask } = split;
  dropSplit(machine, split);
  for (let join = split.join; join !== undefined; join = join.outer) {
    join.expected &= ~mask;
    releaseJoin(machine, warp, join);
  }
  exitLanes(warp, mask);
  for (const other of machine.runnable) other.polls = 0;
}
