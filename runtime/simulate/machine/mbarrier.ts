/** mbarrier objects (PTX ISA 9.7.13.15). */
import type { Vector } from "./clocks.ts";
import type { Split } from "./warp.ts";

export interface Mbarrier {
  vector: Vector;
  readonly waiters: Split[];
}
