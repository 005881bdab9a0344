/**
 * Registers and wgmma (PTX ISA 9.7.15.7): between the issue of a wgmma and the wait that covers it nothing else may
 * touch its accumulators or its A registers, and registers that were written need a `wgmma.fence` before it.
 */
import type { Register, Site } from "../compile/site.ts";
import type { Segment } from "../compile/segment.ts";
import { findAt } from "./findings.ts";
import type { Warp } from "./warp.ts";

export interface Held {
  /** Bit set of registers. */
  readonly set: Int32Array;
  readonly site: number;
  /** The group that will be waited for. */
  readonly group: number;
  /** Columns and type of the accumulator, or "A". */
  readonly shape: string;
}

export interface WgmmaRegisters {
  held: Held[];
  /** Registers written since the last `wgmma.fence`. */
  readonly dirty: Int32Array;
  fenced: boolean;
}

export function wgmmaRegisters(w: Warp): WgmmaRegisters {
  const words = Math.ceil(w.block.grid.kernel.registers.length / 32);
  w.wgmma ??= { held: [], dirty: new Int32Array(words).fill(-1), fenced: false };
  return w.wgmma;
}

/** A register of the set that is in `set` too, or undefined. */
export function common(a: Int32Array, b: Int32Array, registers: readonly Register[]): Register | undefined {
  for (let i = 0; i < a.length; i++) {
    const both = a[i]! & b[i]!;
    if (both !== 0) return registers[i * 32 + 31 - Math.clz32(both)];
  }
  return undefined;
}

/** Called before each segment of a kernel that uses wgmma. */
export function checkRegisters(w: Warp, segment: Segment): void {
  if (segment.wgmma) return;
  const state = wgmmaRegisters(w);
  for (const held of state.held) {
    const register = common(held.set, segment.touched, w.block.grid.kernel.registers);
    if (register !== undefined) reportTouch(w, segment, held, register);
  }
  const { dirty } = state;
  for (let i = 0; i < dirty.length; i++) dirty[i] = dirty[i]! | segment.written[i]!;
}

function reportTouch(w: Warp, segment: Segment, held: Held, register: Register): void {
  const { kernel } = w.block.grid;
  const end = segment.end.kind === "next" ? undefined : segment.end.site;
  const sites = end === undefined ? segment.sites : [...segment.sites, end];
  const name = new RegExp(`(^|[^\\w$%])${register.name.replace(/[$%]/g, "\\$&")}([^\\w$]|$)`);
  const site = sites.find((s) => name.test(s.instruction.text)) ?? sites[0];
  const issued = kernel.sites[held.site]!.instruction;
  findAt(
    w,
    w.live,
    site?.id ?? 0,
    "wgmma-register-hazard",
    `${register.name} belongs to the wgmma of line ${issued.line}, which no wgmma.wait_group has covered`,
  );
}

/** Before a wgmma on accumulators `D` and fragments `A`: they were fenced, and no earlier wgmma holds them. */
export function checkHazards(
  w: Warp,
  site: Site,
  accumulators: Int32Array,
  sources: Int32Array,
  shape: string,
): void {
  const state = wgmmaRegisters(w);
  const { registers } = w.block.grid.kernel;
  const stale = state.fenced
    ? (common(state.dirty, accumulators, registers) ?? common(state.dirty, sources, registers))
    : registers[0];
  if (!state.fenced)
    findAt(w, -1, site.id, "wgmma-missing-fence", "no wgmma.fence came before the first wgmma of the warp");
  else if (stale !== undefined)
    findAt(w, -1, site.id, "wgmma-missing-fence", `${stale.name} was written since the last wgmma.fence`);
  for (const held of state.held) {
    // The same accumulator in the same shape may follow without a wait (9.7.15.7.1), and fragments are only read.
    const sameChain = held.shape === shape;
    const hit =
      (held.shape === "A" ? undefined : common(held.set, sources, registers)) ??
      (sameChain ? undefined : common(held.set, accumulators, registers));
    if (hit !== undefined)
      findAt(
        w,
        -1,
        site.id,
        "wgmma-register-hazard",
        `${hit.name} belongs to an earlier wgmma that no wgmma.wait_group has covered`,
      );
  }
}
