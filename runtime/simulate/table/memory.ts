/** Loads, stores and what steers caches (PTX ISA 9.7.9.8 to 9.7.9.18). */
import { typeBytes } from "../parse/syntax.ts";
import type { Site } from "../compile/site.ts";
import {
  bindLoad,
  elementsOf,
  bindStore,
  found,
  locate,
  scopeNumber,
  strong,
  type AccessKind,
} from "../machine/access.ts";
import { bindAddress } from "../machine/address.ts";
import { checkNonCoherent } from "../machine/coherence.ts";
import { observe, publish, type Order } from "../machine/publish.ts";
import type { Warp } from "../machine/warp.ts";
import type { Step, WarpRow } from "./row.ts";

const spaces = "space?global|shared|shared::cta|shared::cluster|local|param|param::entry|const";
const types = "type:b8|b16|b32|b64|u8|u16|u32|u64|s8|s16|s32|s64|f16|bf16|f32|f64|f16x2|bf16x2";
const hints =
  "l1?L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate.l2evict?L2::evict_normal|L2::evict_first|L2::evict_last.policy?L2::cache_hint.prefetch?L2::64B|L2::128B|L2::256B";
const order = "sem?weak|relaxed|acquire|release|volatile|mmio.scope?cta|cluster|gpu|sys";

function kindOf(site: Site): AccessKind {
  const { space, type, vector, sem, scope } = site.choices;
  const isStrong = sem !== undefined && sem !== "weak";
  return {
    space: space ?? "generic",
    bytes: typeBytes(type!),
    count: vector === undefined ? 1 : Number(vector.slice(1)),
    signed: type!.startsWith("s"),
    // A volatile access is relaxed at system scope (9.7.9.8).
    flags: isStrong ? strong(sem === "volatile" ? "sys" : scope) : 0,
  };
}

export function orderOf(site: Site): Order {
  const { sem, scope } = site.choices;
  return { sem: sem ?? "weak", scope: sem === "volatile" ? 3 : scopeNumber(scope) };
}

/** Runs `then` for each lane's place, for accesses that synchronise. */
function eachPlace(
  site: Site,
  space: string,
  address: number,
  then: (w: Warp, lane: number, offset: number) => void,
): Step {
  const addressOf = bindAddress(site, site.operands[address]);
  return (w, mask) => {
    addressOf(w, mask);
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const offset = locate(w, site, space, l);
      if (found.region !== undefined && offset >= 0) then(w, l, offset);
    }
  };
}

function bindOrderedLoad(site: Site): Step {
  const kind = kindOf(site);
  const load = bindLoad(site, kind, site.operands[0], site.operands[1]);
  const ordering = orderOf(site);
  const [destination] = elementsOf(site, site.operands[0]);
  if (ordering.sem === "weak") return load;
  const places = eachPlace(site, kind.space, 1, (w, _, offset) =>
    observe(w, found.region!, offset, ordering),
  );
  return (w, mask) => {
    // The address register may be the one that is loaded, so the place is read first; and what is acquired comes before the check.
    places(w, mask);
    load(w, mask);
    notePoll(w, mask, site, kind, destination);
  };
}

/** A strong load that sees the same value at the same address again may be waiting for a change: others get their turn. */
function notePoll(
  w: Warp,
  mask: number,
  site: Site,
  kind: AccessKind,
  destination: { readonly base: number; readonly bits: number } | undefined,
): void {
  const split = w.machine.current!;
  const lane = 31 - Math.clz32(mask & -mask);
  const at =
    destination === undefined || destination.base < 0
      ? -1
      : destination.base + (destination.bits === 64 ? 2 * lane : lane);
  const saw = `${w.hi[lane]} ${w.lo[lane]} ${at < 0 ? 0 : w.U[at]}`;
  if (split.polled.get(site.id) === saw && kind.space !== "param") split.polls++;
  else split.polls = 0;
  split.polled.set(site.id, saw);
  w.machine.yield = true;
}

function bindOrderedStore(site: Site): Step {
  const kind = kindOf(site);
  const store = bindStore(site, kind, site.operands[0], site.operands[1]);
  const ordering = orderOf(site);
  if (ordering.sem === "weak") return store;
  const places = eachPlace(site, kind.space, 0, (w, lane, offset) =>
    publish(w, lane, found.region!, offset, ordering, false),
  );
  return (w, mask) => {
    store(w, mask);
    places(w, mask);
    for (const split of w.machine.runnable) split.polls = 0;
  };
}

function bindNonCoherent(site: Site): Step {
  const kind = { ...kindOf(site), space: "global" };
  const load = bindLoad(site, kind, site.operands[0], site.operands[1]);
  const check = eachPlace(site, "global", 1, (w, lane, offset) =>
    checkNonCoherent(w, site, lane, found.region!, offset, kind.bytes * kind.count),
  );
  return (w, mask) => {
    check(w, mask);
    load(w, mask);
  };
}

const nothing: Step = () => undefined;
const row = (
  pattern: string,
  section: string,
  writes: readonly number[],
  bind: (site: Site) => Step,
): WarpRow => ({ pattern, section, writes, bind });

export const memoryRows: readonly WarpRow[] = [
  row(`ld.space:global.cache?ca|cg|cs.nc.${hints}.vector?v2|v4.${types}`, "9.7.9.9", [0], bindNonCoherent),
  row(
    `ld.${order}.${spaces}.cache?ca|cg|cs|lu|cv.${hints}.vector?v2|v4.${types}`,
    "9.7.9.8",
    [0],
    bindOrderedLoad,
  ),
  row(`ldu.space?global.vector?v2|v4.${types}`, "9.7.9.10", [0], bindOrderedLoad),
  row(
    `st.${order}.${spaces}.cache?wb|cg|cs|wt.${hints}.vector?v2|v4.${types}`,
    "9.7.9.11",
    [],
    bindOrderedStore,
  ),
  row("prefetch.space?global|local.level:L1|L2", "9.7.9.15", [], () => nothing),
  row("prefetch.global.level:L2::evict_last|L2::evict_normal", "9.7.9.15", [], () => nothing),
  row("prefetch.space?const|param.tensormap", "9.7.9.15", [], () => nothing),
  row("prefetchu.L1", "9.7.9.15", [], () => nothing),
  row("applypriority.space?global.level:L2::evict_normal", "9.7.9.16", [], () => nothing),
  row("discard.space?global.L2", "9.7.9.17", [], () => nothing),
  row(
    "createpolicy.fractional.first:L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged.second?L2::evict_first|L2::evict_unchanged.b64",
    "9.7.9.18",
    [0],
    bindPolicy,
  ),
  row(
    "createpolicy.range.space?global.first:L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged.second?L2::evict_first|L2::evict_unchanged.b64",
    "9.7.9.18",
    [0],
    bindPolicy,
  ),
  row("createpolicy.cvt.L2.b64", "9.7.9.18", [0], bindPolicy),
];

/** A cache policy is opaque and steers speed alone; any value will do. */
function bindPolicy(site: Site): Step {
  const [destination] = site.operands;
  const base = destination?.kind === "register" ? destination.register.base / 2 : 0;
  return (w, mask) => {
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.BU[base + l] = 0x1000000000000000n;
  };
}
