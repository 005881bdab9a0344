/** Release and acquire between warps, and the lanes that a barrier brings together. */
import { copyVector, fenceProxy, join, noteRelease, type Vector } from "./clocks.ts";
import type { Split, Warp } from "./warp.ts";

/** What the warp did so far is behind it: later accesses get a later time. */
export function advance(w: Warp): void {
  w.time++;
  w.vector.known[w.agent] = w.time;
}

/** Writes down that the lanes of `mask` alone release, where others of the warp have not exited. */
function noteLanes(w: Warp, mask: number): void {
  const { realm } = w.vector;
  if (mask === w.live && !realm.releases.has(w.agent)) {
    w.wholeRelease = w.time;
    return;
  }
  let met = w.time;
  let metReads = w.time;
  for (let lane = 0; lane < 32 && mask !== w.live; lane++) {
    if (!((mask >>> lane) & 1)) continue;
    met = Math.min(met, w.laneSync[lane]! - 1);
    metReads = Math.min(metReads, Math.max(w.laneSync[lane]!, w.laneRead[lane]!) - 1);
  }
  const release = {
    time: w.time,
    mask,
    met: Math.max(met, w.selfKnown),
    metReads: Math.max(metReads, w.selfKnown),
  };
  noteRelease(realm, w.agent, release, w.wholeRelease);
}

/**
 * The lanes of `mask` have passed a `.sync` instruction that is no barrier. It orders no memory (PTX ISA 9.7.9.6), but
 * each lane's earlier loads have been made before any lane goes on, so what comes after may overwrite what they read.
 */
export function passSync(w: Warp, mask: number): void {
  advance(w);
  for (let lane = 0; lane < 32; lane++) if ((mask >>> lane) & 1) w.laneRead[lane] = w.time;
}

/** Adds what the lanes of `mask` know to `into`. */
export function release(w: Warp, mask: number, into: Vector): void {
  noteLanes(w, mask);
  join(into, w.vector);
  advance(w);
}

/** A relaxed arrival carries what an earlier fence of the warp released (PTX ISA 8.8, release patterns). */
export function publishFenced(w: Warp, into: Vector): void {
  if (w.fenced !== undefined) join(into, w.fenced.vector);
  advance(w);
}

export function snapshot(w: Warp, mask: number): Vector {
  noteLanes(w, mask);
  const vector = copyVector(w.vector);
  advance(w);
  return vector;
}

export function acquire(w: Warp, from: Vector): void {
  join(w.vector, from);
  if (from.realm === w.vector.realm && w.agent < from.known.length) {
    const own = from.known[w.agent]!;
    if (own > w.selfKnown && own < w.time) w.selfKnown = own;
  } else {
    const own = from.foreign?.get(w.vector.realm.id)?.known[w.agent];
    if (own !== undefined && own > w.selfKnown && own < w.time) w.selfKnown = own;
  }
}

/** The lanes of `mask` have met: what any of them did is ordered before what each does next. */
export function meetLanes(w: Warp, mask: number): void {
  advance(w);
  for (let lane = 0; lane < 32; lane++) if ((mask >>> lane) & 1) w.laneSync[lane] = w.time;
}

/** `fence.proxy.async` by the lanes of `mask`. */
export function fenceAsync(w: Warp, mask: number): void {
  fenceProxy(w.vector);
  const key = w.vector.realm.id * 65536 + w.agent;
  const fences = w.machine.partialFences.get(key) ?? [];
  fences.push({ time: w.time, mask });
  // Older fences are covered by the later ones for any write that is still of interest.
  if (fences.length > 16) fences.shift();
  w.machine.partialFences.set(key, fences);
  advance(w);
}

/** Lets a waiting split ask again. */
export function wake(split: Split): void {
  const { machine } = split.warp;
  if (split.waiting !== undefined) split.waiting.ready = true;
  if (machine.waiting.delete(split)) machine.runnable.push(split);
}

/** Something changed that a polling loop may be waiting for. */
export function progress(w: Warp): void {
  for (const split of w.machine.runnable) split.polls = 0;
}
