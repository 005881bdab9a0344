/**
 * What a target is: its caps, the rewrites that bring a kernel into its subset, and a spelling.
 * A target is a folder here and a line in `index.ts`.
 */
import type { Caps, Kernel } from "../kernel/ir.ts";
import type { Emitted } from "./writer.ts";

export type { Emitted };

export interface Target {
  readonly name: string;
  /** `sm_90a`, `sm_80`; the first is meant where none is said. Empty for a target with one form. */
  readonly variants: readonly string[];
  /** Ending of its files, with the dot. */
  readonly extension: string;
  readonly caps: (variant: string) => Caps;
  /** Pure; the result computes the same and holds only what `caps` has. */
  readonly legalize: (kernel: Kernel, caps: Caps) => Kernel;
  /** Spells a legal kernel, and decides nothing. */
  readonly emit: (kernel: Kernel, caps: Caps) => Emitted;
}
