/** What a device gives so that plans run on it: memory, and launches of a loaded plan's kernels. */
import type { Artifact } from "../../compiler/plan/plan.ts";
import type { KernelTiming } from "../device.ts";
import type { MemoryPool } from "./memory-pool.ts";

/** Part of a piece of device memory. */
export interface Range<M> {
  readonly memory: M;
  readonly offset: number;
  readonly bytes: number;
}

export interface Launch<M> {
  readonly kernel: number;
  readonly buffers: readonly Range<M>[];
  readonly grid: readonly [number, number, number];
  readonly sizes: readonly number[];
  /** Extents of each of the kernel's tensor maps, slowest first. */
  readonly maps: readonly (readonly number[])[];
  /** May begin before the launch ahead of it has ended: its kernel waits. */
  readonly early: boolean;
}

export interface TimeOptions {
  readonly samples: number;
  /** Passes over the launches in a sample. */
  readonly repeats: number;
  readonly restore: (() => void) | undefined;
  readonly flushBytes: number;
}

/** The kernels of one loaded plan. */
export interface Program<M> {
  /**
   * Queues the launches in order; with `time`, waits after each. The same array again means the same launches on
   * the same memory, so that a device may keep what it prepared for it.
   */
  launch(launches: readonly Launch<M>[], time: boolean): Promise<readonly KernelTiming[]>;
  /**
   * Seconds of each sample on the device's clock, of one pass over the launches; not there where a device has no such
   * clock. Before a sample `restore` is called and `flushBytes` are written elsewhere, in no part of its time.
   */
  readonly time?: (launches: readonly Launch<M>[], options: TimeOptions) => Promise<readonly number[]>;
  free(): void;
}

export interface Backend<M> {
  readonly pool: MemoryPool<M>;
  write(memory: M, bytes: Uint8Array): void;
  /** Waits for what was queued before. */
  read(memory: M, bytes: number): Promise<Uint8Array>;
  load(artifact: Artifact): Promise<Program<M>>;
  /** Waits for what was queued before; not there where a launch has ended when it returns. */
  readonly finish?: () => Promise<void>;
  /**
   * "one": all temporaries lie in one allocation at their offsets. "each": each slot of it is an allocation of its
   * own (WebGPU refuses a buffer that one launch both reads and writes, wherever in it).
   */
  readonly temporaries: "one" | "each";
}
