/** Exchanges between the lanes of a warp: shuffle, vote, match, redux, elect (PTX ISA 9.7.9.5, 9.7.13.9 to 9.7.13.14). */
import { SimulateError } from "../finding.ts";
import type { Site, Value } from "../compile/site.ts";
import { bindRead, bindRead64, wordOf } from "../machine/address.ts";
import type { Warp } from "../machine/warp.ts";
import { checkMembers } from "./barrier.ts";
import type { Step, WarpRow } from "./row.ts";

const firstLane = (mask: number): number => 31 - Math.clz32(mask & -mask);
const scratch = new Int32Array(32);

function setPredicate(w: Warp, base: number, mask: number, value: number): void {
  w.I[base] = (w.I[base]! & ~mask) | (value & mask);
}

/** The two results of a `d|p` operand, or one. */
function results(site: Site, value: Value | undefined): { readonly d: number; readonly p: number } {
  if (value?.kind !== "pair") return { d: wordOf(site, value).base, p: -1 };
  return { d: wordOf(site, value.first).base, p: wordOf(site, value.second).base };
}

/** Source lane and whether it is in range, from the lane, operand b and the clamp and segment of c (9.7.9.6). */
function shuffleSource(mode: string, lane: number, b: number, c: number): [number, boolean] {
  const segment = (c >>> 8) & 31;
  const bound = (lane & segment) | (c & 31 & ~segment);
  const base = lane & segment;
  switch (mode) {
    case "up": {
      const from = lane - (b & 31);
      return from >= bound ? [from, true] : [lane, false];
    }
    case "down": {
      const from = lane + (b & 31);
      return from <= bound ? [from, true] : [lane, false];
    }
    case "bfly": {
      const from = lane ^ (b & 31);
      return from <= bound ? [from, true] : [lane, false];
    }
    default: {
      const from = base | (b & 31 & ~segment);
      return from <= bound ? [from, true] : [lane, false];
    }
  }
}

function bindShuffle(site: Site): Step {
  const [destination, a, b, c, members] = site.operands;
  const { d, p } = results(site, destination);
  const [readA, readB, readC, readMembers] = [a, b, c, members].map((value) => bindRead(site, value)) as [
    Reader,
    Reader,
    Reader,
    Reader,
  ];
  const { mode } = site.choices;
  return (w, mask) => {
    checkMembers(w, mask, site, readMembers(w, firstLane(mask)));
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) scratch[l] = readA(w, l);
    let valid = 0;
    const from = new Int32Array(32);
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const [source, inRange] = shuffleSource(mode!, l, readB(w, l), readC(w, l));
      if (inRange) valid |= 1 << l;
      // What a lane outside the mask holds is undefined; its own value shows the mistake least, poison shows it.
      from[l] = (mask >>> source) & 1 ? scratch[source]! : 0x7fffbad0;
    }
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1 && d >= 0) w.I[d + l] = from[l]!;
    if (p >= 0) setPredicate(w, p, mask, valid);
  };
}

type Reader = (w: Warp, lane: number) => number;

function predicateMask(w: Warp, mask: number, read: Reader): number {
  let bits = 0;
  for (let l = 0; l < 32; l++) if ((mask >>> l) & 1 && read(w, l) & 1) bits |= 1 << l;
  return bits;
}

function bindVote(site: Site): Step {
  const [destination, a, members] = site.operands;
  const { base } = wordOf(site, destination);
  const read = bindRead(site, a);
  const readMembers = bindRead(site, members);
  const { mode } = site.choices;
  return (w, mask) => {
    checkMembers(w, mask, site, readMembers(w, firstLane(mask)));
    const votes = predicateMask(w, mask, read);
    if (mode === "ballot") {
      for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.I[base + l] = votes;
      return;
    }
    const truth =
      mode === "all" ? votes === mask : mode === "any" ? votes !== 0 : votes === mask || votes === 0;
    setPredicate(w, base, mask, truth ? mask : 0);
  };
}

function bindMatch(site: Site): Step {
  const [destination, a, members] = site.operands;
  const { d, p } = results(site, destination);
  const wide = site.choices["type"] === "b64";
  const read: (w: Warp, lane: number) => number | bigint = wide ? bindRead64(site, a) : bindRead(site, a);
  const readMembers = bindRead(site, members);
  const all = site.choices["mode"] === "all";
  return (w, mask) => {
    checkMembers(w, mask, site, readMembers(w, firstLane(mask)));
    const groups = new Map<number | bigint, number>();
    for (let l = 0; l < 32; l++)
      if ((mask >>> l) & 1) groups.set(read(w, l), (groups.get(read(w, l)) ?? 0) | (1 << l));
    const values = Array.from(
      { length: 32 },
      (_, l) => (groups.get((mask >>> l) & 1 ? read(w, l) : 0) ?? 0) | 0,
    );
    for (let l = 0; l < 32; l++)
      if ((mask >>> l) & 1 && d >= 0) w.I[d + l] = all ? (groups.size === 1 ? mask : 0) : values[l]!;
    if (p >= 0) setPredicate(w, p, mask, groups.size === 1 ? mask : 0);
  };
}

const reducers: Readonly<Record<string, (a: number, b: number) => number>> = {
  add: (a, b) => (a + b) | 0,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
};

function bindRedux(site: Site): Step {
  const [destination, a, members] = site.operands;
  const { base } = wordOf(site, destination);
  const read = bindRead(site, a);
  const readMembers = bindRead(site, members);
  const { op, type } = site.choices;
  const view = (x: number): number => (type === "u32" ? x >>> 0 : x);
  const combine =
    reducers[op!] ??
    (op === "min"
      ? (x: number, y: number): number => Math.min(view(x), view(y))
      : (x: number, y: number): number => Math.max(view(x), view(y)));
  return (w, mask) => {
    checkMembers(w, mask, site, readMembers(w, firstLane(mask)));
    let total: number | undefined;
    for (let l = 0; l < 32; l++)
      if ((mask >>> l) & 1) total = total === undefined ? read(w, l) : combine(total, read(w, l));
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.I[base + l] = total!;
  };
}

/** One lane of the members is the leader; which one is not said, and here it is the first. */
function bindElect(site: Site): Step {
  const [destination, members] = site.operands;
  if (destination?.kind !== "pair")
    throw new SimulateError(`${site.instruction.text}: I expected d|p`, site.instruction.line);
  const { d, p } = results(site, destination);
  const readMembers = bindRead(site, members);
  return (w, mask) => {
    checkMembers(w, mask, site, readMembers(w, firstLane(mask)));
    const leader = firstLane(mask);
    if (d >= 0) for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.I[d + l] = leader;
    setPredicate(w, p, mask, 1 << leader);
  };
}

function bindActive(site: Site): Step {
  const { base } = wordOf(site, site.operands[0]);
  return (w, mask) => {
    for (let l = 0; l < 32; l++) if ((mask >>> l) & 1) w.I[base + l] = mask;
  };
}

const row = (pattern: string, section: string, bind: (site: Site) => Step): WarpRow => ({
  pattern,
  section,
  writes: [0],
  bind,
});

export const warpRows: readonly WarpRow[] = [
  row("shfl.sync.mode:up|down|bfly|idx.b32", "9.7.9.6", bindShuffle),
  row("vote.sync.mode:any|all|uni.pred", "9.7.13.10", bindVote),
  row("vote.sync.mode:ballot.b32", "9.7.13.10", bindVote),
  row("match.mode:any|all.sync.type:b32|b64", "9.7.13.11", bindMatch),
  row("activemask.b32", "9.7.13.12", bindActive),
  row("redux.sync.op:add|min|max.type:u32|s32", "9.7.13.13", bindRedux),
  row("redux.sync.op:and|or|xor.type:b32", "9.7.13.13", bindRedux),
  row("elect.sync", "9.7.13.15", bindElect),
];
