/** Barriers of a block and of a warp, and memory fences (PTX ISA 9.7.13.1 to 9.7.13.6). */
import type { Site, Value } from "../compile/site.ts";
import { bindRead, wordOf } from "../machine/address.ts";
import { arrive, complete, describe, type Arrival } from "../machine/barriers.ts";
import { findAt, lanesText } from "../machine/findings.ts";
import { scopeNumber } from "../machine/access.ts";
import { fenceInitialised } from "../machine/mbarrier.ts";
import { acquire, fenceAsync, meetLanes, passSync, snapshot } from "../machine/sync.ts";
import type { Warp } from "../machine/warp.ts";
import type { Attempt, Step, WaitRow, WarpRow } from "./row.ts";

const firstLane = (mask: number): number => 31 - Math.clz32(mask & -mask);

interface Plan {
  readonly id: Value | undefined;
  readonly count: Value | undefined;
  readonly vote: Value | undefined;
  readonly aligned: boolean;
}

/** `bar` is `barrier.aligned`. */
const isAligned = (site: Site): boolean =>
  site.instruction.parts[0] === "bar" || site.choices["aligned"] !== undefined;

function bindArrival(site: Site, { id, count, vote, aligned }: Plan): (w: Warp, mask: number) => Arrival {
  const idOf = bindRead(site, id);
  const countOf = count === undefined ? undefined : bindRead(site, count);
  const voteOf = vote === undefined ? undefined : bindRead(site, vote);
  return (w, mask) => {
    const lane = firstLane(mask);
    let votes = 0;
    if (voteOf !== undefined) for (let l = 0; l < 32; l++) if (voteOf(w, l) & 1) votes |= 1 << l;
    return { id: idOf(w, lane), count: countOf?.(w, lane) ?? 0, aligned, votes };
  };
}

function waitAt(site: Site, plan: Plan, finish: (w: Warp, mask: number, result: number) => void): Attempt {
  const arrivalOf = bindArrival(site, plan);
  return (w, mask) => {
    const split = w.machine.current!;
    if (split.waiting !== undefined) {
      finish(w, mask, split.waiting.result);
      split.waiting = undefined;
      return true;
    }
    const arrival = arrivalOf(w, mask);
    const barrier = arrive(w, mask, site, arrival);
    if (barrier !== undefined) {
      barrier.waiters.push(split);
      split.waiting = { site: site.id, ready: false, result: 0, what: () => describe(barrier, arrival.id) };
      return false;
    }
    const done = complete(w.block, arrival.id);
    acquire(w, done.vector);
    meetLanes(w, mask);
    finish(w, mask, done.votes * 65536 + done.against);
    return true;
  };
}

function reduction(site: Site): Attempt {
  const [destination, id, second, third] = site.operands;
  const plan: Plan = {
    id,
    count: third === undefined ? undefined : second,
    vote: third ?? second,
    aligned: isAligned(site),
  };
  const { base } = wordOf(site, destination);
  const { op } = site.choices;
  return waitAt(site, plan, (w, mask, result) => {
    const votes = Math.floor(result / 65536);
    const value = op === "popc" ? votes : op === "and" ? (result % 65536 === 0 ? 1 : 0) : votes > 0 ? 1 : 0;
    if (op !== "popc") w.I[base] = value === 1 ? w.I[base]! | mask : w.I[base]! & ~mask;
    else for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.I[base + l] = value;
  });
}

const nothing = (): void => undefined;
const section = "9.7.13.1";

const waits: readonly WaitRow[] = ["bar.cta?cta.sync", "barrier.cta?cta.sync.aligned?aligned"].map(
  (pattern) => ({
    pattern,
    section,
    writes: [],
    attempt: (site) =>
      waitAt(
        site,
        { id: site.operands[0], count: site.operands[1], vote: undefined, aligned: isAligned(site) },
        nothing,
      ),
  }),
);

const reductions: readonly WaitRow[] = [
  "bar.cta?cta.red.op:popc.u32",
  "bar.cta?cta.red.op:and|or.pred",
  "barrier.cta?cta.red.op:popc.aligned?aligned.u32",
  "barrier.cta?cta.red.op:and|or.aligned?aligned.pred",
].map((pattern) => ({ pattern, section, writes: [0], attempt: reduction }));

function bindArrive(site: Site): Step {
  const arrivalOf = bindArrival(site, {
    id: site.operands[0],
    count: site.operands[1],
    vote: undefined,
    aligned: isAligned(site),
  });
  return (w, mask) => {
    const arrival = arrivalOf(w, mask);
    if (arrive(w, mask, site, arrival) === undefined) complete(w.block, arrival.id);
  };
}

const arrivals: readonly WarpRow[] = ["bar.cta?cta.arrive", "barrier.cta?cta.arrive.aligned?aligned"].map(
  (pattern) => ({ pattern, section, writes: [], bind: bindArrive }),
);

/** All lanes that a `.sync` instruction names must be here, but for those that have exited. */
export function checkMembers(w: Warp, mask: number, site: Site, members: number): void {
  const missing = members & w.live & ~mask;
  if (missing !== 0)
    findAt(
      w,
      mask,
      site.id,
      "divergent-instruction",
      `${site.instruction.text} waits for ${lanesText(missing)}, which did not come with it`,
    );
  else passSync(w, mask);
  const outside = mask & ~members;
  if (outside !== 0)
    findAt(
      w,
      outside,
      site.id,
      "divergent-instruction",
      `${lanesText(outside)} execute ${site.instruction.text} without being in its member mask`,
    );
}

/** `.aligned`: every lane of the warp that has not exited executes the instruction. */
export function checkAligned(w: Warp, mask: number, site: Site): void {
  if (mask === w.live) {
    passSync(w, mask);
    return;
  }
  findAt(
    w,
    mask,
    site.id,
    "divergent-instruction",
    `${site.instruction.text} is .aligned, and ${lanesText(w.live & ~mask)} of the warp did not come with it`,
  );
}

function bindWarpSync(site: Site): Step {
  const members = bindRead(site, site.operands[0]);
  return (w, mask) => {
    checkMembers(w, mask, site, members(w, firstLane(mask)));
    meetLanes(w, mask);
  };
}

/** A fence publishes what the thread knows with its next relaxed store, and acquires what its relaxed loads saw (8.8). */
function bindFence(site: Site): Step {
  const { scope, level, sem } = site.choices;
  const number = level === undefined ? scopeNumber(scope) : { cta: 0, gl: 2, sys: 3 }[level]!;
  return (w, mask) => {
    if (w.seen !== undefined && sem !== "release") acquire(w, w.seen);
    w.seen = undefined;
    if (sem === "acquire") return;
    w.fenced = { vector: snapshot(w, mask), scope: number };
  };
}

function bindMbarrierFence(): Step {
  return (w, mask) => {
    fenceInitialised(w);
    w.fenced = { vector: snapshot(w, mask), scope: 1 };
  };
}

const fences: readonly WarpRow[] = [
  { pattern: "bar.warp.sync", section: "9.7.13.3", writes: [], bind: bindWarpSync },
  { pattern: "membar.level:cta|gl|sys", section: "9.7.13.5", writes: [], bind: bindFence },
  {
    pattern: "fence.sem?sc|acq_rel|acquire|release.scope:cta|cluster|gpu|sys",
    section: "9.7.13.5",
    writes: [],
    bind: bindFence,
  },
  {
    pattern: "fence.mbarrier_init.release.cluster",
    section: "9.7.13.5",
    writes: [],
    bind: bindMbarrierFence,
  },
  // The async proxy for the named space; without one, for all (9.7.13.5).
  {
    pattern: "fence.proxy.async.space?global|shared::cta|shared::cluster",
    section: "9.7.13.5",
    writes: [],
    bind: () => fenceAsync,
  },
  { pattern: "fence.proxy.alias", section: "9.7.13.5", writes: [], bind: () => nothing },
  {
    pattern: "fence.proxy.tensormap::generic.sem:release.scope:cta|cluster|gpu|sys",
    section: "9.7.13.5",
    writes: [],
    bind: bindFence,
  },
  {
    pattern: "fence.proxy.tensormap::generic.sem:acquire.scope:cta|cluster|gpu|sys",
    section: "9.7.13.5",
    writes: [],
    bind: bindFence,
  },
];

export const barrierRows: readonly (WarpRow | WaitRow)[] = [...waits, ...reductions, ...arrivals, ...fences];
