/**
 * Work in flight: `cp.async`, bulk copies and wgmma.
 *
 * An operation is checked and entered in the shadow when it is issued; its bytes move when the scheduler picks it
 * from `pending`, or when something waits for it. Groups are kept for each warp with the lanes that committed
 * them; a wait completes all but the latest n of the groups that its lanes take part in (PTX ISA 9.7.9.25.3).
 */
import { reserve } from "./clocks.ts";
import type { Machine } from "./machine.ts";
import type { Warp } from "./warp.ts";

export interface AsyncOperation {
  done: boolean;
  readonly site: number;
  /** Moves the bytes and signals; called once. */
  readonly complete: () => void;
  /** Whether the block must wait for it before it exits. */
  readonly needed: () => boolean;
}

export interface Group {
  readonly operations: AsyncOperation[];
  readonly mask: number;
  /** The time of the group's agent. */
  readonly time: number;
}

/** A queue of groups with an agent of its own. */
export interface Groups {
  /** Agent for what the operations read, and for what they write; -1 until the first operation. */
  agent: number;
  writer: number;
  /** Issued and not yet committed. */
  open: { readonly operation: AsyncOperation; readonly mask: number }[];
  readonly committed: Group[];
  /** The time that the open group will have. */
  time: number;
  /** wgmma instructions issued so far. */
  issued: number;
  /** By the time of a group, the warp's time when it was waited for. */
  readonly waits: Map<number, number>;
}

export interface WarpAsync {
  readonly copies: Groups;
  readonly bulk: Groups;
  readonly wgmma: Groups;
  /** wgmma in the order of issue. */
  readonly wgmmaQueue: AsyncOperation[];
}

function makeGroups(): Groups {
  return { agent: -1, writer: -1, open: [], committed: [], time: 1, issued: 0, waits: new Map() };
}

export function makeWarpAsync(): WarpAsync {
  return { copies: makeGroups(), bulk: makeGroups(), wgmma: makeGroups(), wgmmaQueue: [] };
}

/** A new agent in the realm of the warp. */
export function newAgent(w: Warp, name: () => string): number {
  const { realm } = w.vector;
  const agent = realm.size++;
  reserve(w.vector, realm.size);
  w.machine.agentNames.set(realm.id * 65536 + agent, name);
  return agent;
}

export function issue(machine: Machine, operation: AsyncOperation): void {
  machine.pending.push(operation);
}

export function finish(machine: Machine, operation: AsyncOperation): void {
  if (operation.done) return;
  operation.done = true;
  const at = machine.pending.indexOf(operation);
  if (at >= 0) {
    machine.pending[at] = machine.pending[machine.pending.length - 1]!;
    machine.pending.pop();
  }
  operation.complete();
  for (const split of machine.runnable) split.polls = 0;
}

export function commit(groups: Groups, mask: number): void {
  const operations = groups.open.filter((entry) => (entry.mask & mask) !== 0).map((entry) => entry.operation);
  groups.open = groups.open.filter((entry) => (entry.mask & mask) === 0);
  groups.committed.push({ operations, mask, time: groups.time });
  groups.time++;
}

/** Completes all but the latest `keep` groups of the lanes; returns the time up to which all are complete. */
export function waitGroups(machine: Machine, groups: Groups, mask: number, keep: number): number {
  const mine = groups.committed.filter((group) => (group.mask & mask) !== 0);
  const due = mine.slice(0, Math.max(0, mine.length - keep));
  let time = 0;
  for (const group of due) {
    for (const operation of group.operations) finish(machine, operation);
    time = group.time;
  }
  return time;
}

/** Forgets the groups up to a time: nothing will wait for them again. */
export function dropGroups(groups: Groups, mask: number, time: number): void {
  const kept = groups.committed.filter((group) => (group.mask & mask) === 0 || group.time > time);
  groups.committed.length = 0;
  groups.committed.push(...kept);
}

/** The warp now knows what the agent did up to `time`. */
export function learn(w: Warp, agent: number, time: number): void {
  if (agent < 0 || time === 0) return;
  reserve(w.vector, agent + 1);
  if (w.vector.known[agent]! < time) w.vector.known[agent] = time;
}
