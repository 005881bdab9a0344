/** What an action costs, and where a rank's communication goes. */
import type { Pieces } from "./pieces.ts";

/** Of one chunk: one micro-batch at one stage. */
export interface Costs {
  readonly F: number;
  /** The whole backward, I and W. */
  readonly B: number;
  readonly W: number;
  /** An overlapped pair; F + B where communication hides nothing. */
  readonly FB: number;
}

export const defaultCosts: Costs = { F: 1, B: 2, W: 1, FB: 3 };

export interface Link {
  /** Time from the end of a transfer to its arrival. */
  readonly latency: number;
  /** Bytes in a unit of time; without it a transfer takes none. */
  readonly bandwidth: number | undefined;
  /** Of one activation or its gradient. */
  readonly bytes: number;
}

export interface SimulationOptions {
  readonly costs?: Partial<Costs> | undefined;
  /** Stage s costs `stageCosts[s]` times as much as another, 1 where it has no entry. */
  readonly stageCosts?: readonly number[] | undefined;
  readonly link?: { readonly [K in keyof Link]?: Link[K] | undefined } | undefined;
  /** Actions take up to this part longer, by `seed`. */
  readonly jitter?: number | undefined;
  readonly seed?: number | undefined;
  readonly buffers?: number | undefined;
  /** Layers cut into attention, dispatch, MLP and combine, instead of one cost an action. */
  readonly pieces?: Pieces | undefined;
}

/** Whole costs; FB follows F and B where it is not given. */
export function costsOf(given: Partial<Costs> | undefined): Costs {
  const { F, B, W } = { ...defaultCosts, ...given };
  return { F, B, W, FB: given?.FB ?? F + B };
}

/**
 * From 0 up to 1, the same for the same seed and entry, whatever was asked before: 32 bits of a hash (the finalizer of
 * MurmurHash3) over both.
 */
export function noise(seed: number, entry: number): number {
  let h = Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(entry + 1, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}
