/** mbarrier instructions (PTX ISA 9.7.13.15). */
import type { Site, Value } from "../compile/site.ts";
import { bindAddress, bindRead, bindRead64, inBounds, sharedRegion, wordOf } from "../machine/address.ts";
import { finish, issue, type AsyncOperation } from "../machine/async.ts";
import { reserve } from "../machine/clocks.ts";
import { findAt } from "../machine/findings.ts";
import {
  acquirePhase,
  arriveAtMbarrier,
  arriveForCopies,
  barrierAt,
  bytesArrived,
  describeMbarrier,
  dropArrival,
  expectBytes,
  initialise,
  invalidate,
  parityDone,
  type Mbarrier,
} from "../machine/mbarrier.ts";
import { blockOf } from "../machine/remote.ts";
import { snapshot } from "../machine/sync.ts";
import type { Warp } from "../machine/warp.ts";
import type { Attempt, Step, WaitRow, WarpRow } from "./row.ts";

/** Calls `then` with the barrier that each lane names. */
function eachBarrier(
  site: Site,
  address: Value | undefined,
  then: (w: Warp, lane: number, m: Mbarrier) => void,
): Step {
  const addressOf = bindAddress(site, address);
  return (w, mask) => {
    addressOf(w, mask);
    const low = w.lo.slice();
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const m = barrierAt(w, site, l, blockOf(w, site, l, low[l]!), low[l]! & 0xffffff);
      if (m !== undefined) then(w, l, m);
    }
  };
}

function bindInit(site: Site): Step {
  const addressOf = bindAddress(site, site.operands[0]);
  const count = bindRead(site, site.operands[1]);
  return (w, mask) => {
    addressOf(w, mask);
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const region = sharedRegion(w, w.lo[l]!);
      const offset = w.lo[l]! & 0xffffff;
      if (region !== w.block.shared)
        findAt(
          w,
          1 << l,
          site.id,
          "mbarrier-misuse",
          "mbarrier.init reaches only the block's own shared memory",
        );
      else if (inBounds(w, site, l, region, offset, 8, 8))
        initialise(w, site, l, region, w.block, offset, count(w, l));
    }
  };
}

function writeToken(w: Warp, state: Value | undefined, lane: number, m: Mbarrier): void {
  if (state?.kind === "register")
    w.BU[state.register.base / 2 + lane] = BigInt(m.phase) | (BigInt(m.pending) << 32n);
}

function bindArrive(site: Site): Step {
  const { kind, drop, sem } = site.choices;
  const [state, address, amount] = site.operands;
  const count = amount === undefined ? undefined : bindRead(site, amount);
  return eachBarrier(site, address, (w, lane, m) => {
    writeToken(w, state, lane, m);
    const bytes = kind === "expect_tx";
    if (bytes) expectBytes(w, site, lane, m, count!(w, lane));
    if (drop === "arrive_drop") dropArrival(m);
    arriveAtMbarrier(w, site, lane, m, bytes ? 1 : (count?.(w, lane) ?? 1), sem === "relaxed");
  });
}

function bindExpect(site: Site): Step {
  const amount = bindRead(site, site.operands[1]);
  return eachBarrier(site, site.operands[0], (w, lane, m) => expectBytes(w, site, lane, m, amount(w, lane)));
}

function bindComplete(site: Site): Step {
  const amount = bindRead(site, site.operands[1]);
  return eachBarrier(site, site.operands[0], (w, lane, m) => bytesArrived(m, amount(w, lane)));
}

/**
 * test_wait and try_wait. try_wait may suspend the thread, and may give up after a time that the system sets; so
 * it gives up here when the scheduler says so, and code that does not ask again is found out.
 */
function bindWait(site: Site): Attempt {
  const [result, address, phase] = site.operands;
  const { base } = wordOf(site, result);
  const addressOf = bindAddress(site, address);
  const byParity = site.choices["parity"] !== undefined;
  const parity = byParity ? bindRead(site, phase) : undefined;
  const token = byParity ? undefined : bindRead64(site, phase);
  const patient = site.choices["kind"] === "try_wait";
  const relaxed = site.choices["sem"] === "relaxed";
  const isDone = (w: Warp, lane: number, m: Mbarrier): boolean =>
    parity !== undefined ? parityDone(m, parity(w, lane)) : m.phase > Number(token!(w, lane) & 0xffffffffn);
  return (w, mask) => {
    const split = w.machine.current!;
    const again = split.waiting !== undefined;
    split.waiting = undefined;
    addressOf(w, mask);
    const low = w.lo.slice();
    const barriers = new Set<Mbarrier>();
    let done = 0;
    let missing: Mbarrier | undefined;
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const m = barrierAt(w, site, l, blockOf(w, site, l, low[l]!), low[l]! & 0xffffff);
      // Without a barrier there is nothing to wait for; the finding is made, and the run goes on.
      if (m === undefined || isDone(w, l, m)) done |= 1 << l;
      else missing = m;
      if (m !== undefined && (done >>> l) & 1) barriers.add(m);
    }
    if (missing !== undefined && patient && (again || w.machine.schedule.choose(2) === 0)) {
      const m = missing;
      m.waiters.push(split);
      split.waiting = { site: site.id, ready: false, result: 0, what: () => describeMbarrier(m) };
      return false;
    }
    if (!relaxed) for (const m of barriers) acquirePhase(w, m);
    if (missing !== undefined) {
      split.polls++;
      w.machine.yield = true;
    }
    if (base >= 0) w.I[base] = (w.I[base]! & ~mask) | done;
    return true;
  };
}

function bindPending(site: Site): Step {
  const { base } = wordOf(site, site.operands[0]);
  const token = bindRead64(site, site.operands[1]);
  return (w, mask) => {
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.U[base + l] = Number(token(w, l) >> 32n);
  };
}

/** `cp.async.mbarrier.arrive`: arrives when the thread's copies so far are done; `.noinc` counts against the barrier's own count. */
function bindCopyArrive(site: Site): Step {
  const noIncrement = site.choices["noinc"] !== undefined;
  const arrivals: { w: Warp; lane: number; m: Mbarrier }[] = [];
  const collect = eachBarrier(site, site.operands[0], (w, lane, m) => arrivals.push({ w, lane, m }));
  return (w, mask) => {
    collect(w, mask);
    const mine = arrivals.splice(0);
    const { copies } = w.async;
    const before = [
      ...copies.open.map((entry) => entry.operation),
      ...copies.committed.flatMap((group) => group.operations),
    ].filter((op) => !op.done);
    if (!noIncrement) for (const { m } of mine) m.pending++;
    const published = snapshot(w, mask);
    if (copies.agent >= 0) {
      reserve(published, copies.agent + 1);
      published.known[copies.agent] = copies.time;
    }
    const operation: AsyncOperation = {
      done: false,
      site: site.id,
      needed: () => true,
      complete: () => {
        for (const op of before) finish(w.machine, op);
        for (const { lane, m } of mine) {
          arriveForCopies(w, site, lane, m, published);
        }
      },
    };
    // What the group holds so far gets a time of its own, which the arrival publishes.
    copies.time++;
    issue(w.machine, operation);
  };
}

const section = "9.7.13.15";
const space = "space?shared|shared::cta|shared::cluster";
const order = "sem?release|relaxed.scope?cta|cluster";
const row = (pattern: string, writes: readonly number[], bind: (site: Site) => Step): WarpRow => ({
  pattern,
  section,
  writes,
  bind,
});
const wait = (pattern: string): WaitRow => ({
  pattern,
  section: "9.7.13.15.16",
  writes: [0],
  attempt: bindWait,
});

export const mbarrierRows: readonly (WarpRow | WaitRow)[] = [
  row("mbarrier.init.space?shared|shared::cta.b64", [], bindInit),
  row("mbarrier.inval.space?shared|shared::cta.b64", [], (site) =>
    eachBarrier(site, site.operands[0], (w, lane, m) => invalidate(w, site, lane, m)),
  ),
  row(`mbarrier.expect_tx.${order}.${space}.b64`, [], bindExpect),
  row(`mbarrier.complete_tx.${order}.${space}.b64`, [], bindComplete),
  row(`mbarrier.drop:arrive|arrive_drop.kind?expect_tx|noComplete.${order}.${space}.b64`, [0], bindArrive),
  row("mbarrier.pending_count.b64", [0], bindPending),
  wait(
    "mbarrier.kind:test_wait|try_wait.parity?parity.sem?acquire|relaxed.scope?cta|cluster.space?shared|shared::cta.b64",
  ),
  row("cp.async.mbarrier.arrive.noinc?noinc.space?shared|shared::cta.b64", [], bindCopyArrive),
];
