/**
 * How many 32-bit registers are live at once. Of all registers that is an estimate: ptxas recomputes values, and
 * keeps what a warp shares in registers of the warp. Of the accumulators and fragments of wgmma it is a lower bound.
 */
import type { KernelSyntax } from "../parse/syntax.ts";
import { findLabel } from "./resolve.ts";
import { registersOf } from "./site.ts";
import { isFlow, registersUsed, type Bound } from "./segments.ts";

function successors(bound: readonly Bound[], kernel: KernelSyntax, i: number): number[] {
  const { row, site, guard } = bound[i]!;
  if (!isFlow(row)) return [i + 1];
  const next = guard === undefined ? [] : [i + 1];
  const { instruction } = site;
  const names = row.flow === "branch" ? instruction.operands.slice(0, 1) : row.flow === "indexed" ? [] : [];
  const targets = names.flatMap((operand) =>
    operand.kind === "name" ? [findLabel(instruction.scope, operand.name) ?? i + 1] : [],
  );
  if (row.flow === "indexed") {
    const list = instruction.operands[1];
    for (const label of (list?.kind === "name" ? kernel.targets.get(list.name) : undefined) ?? [])
      targets.push(findLabel(instruction.scope, label) ?? i + 1);
  }
  return [...next, ...targets];
}

/** The registers that wgmma reads or accumulates in. */
export function matrixRegisters(bound: readonly Bound[]): ReadonlySet<number> {
  const vectors = bound
    .filter(({ site }) => site.instruction.parts[0] === "wgmma")
    .flatMap(({ site }) => site.operands.slice(0, 2));
  return new Set(
    vectors
      .filter((value) => value.kind === "vector")
      .flatMap(registersOf)
      .map((register) => register.id),
  );
}

/** 32-bit registers of a set live before each instruction. Backward dataflow over bit sets, an instruction at a time. */
export function liveWords(
  bound: readonly Bound[],
  kernel: KernelSyntax,
  among: ReadonlySet<number> | undefined,
): Int32Array {
  const used = bound.map(registersUsed);
  const width = new Map<number, number>();
  for (const { reads, writes } of used)
    for (const r of [...reads, ...writes]) width.set(r.id, r.bits === 64 ? 2 : r.bits === 1 ? 0 : 1);
  const size = Math.ceil((Math.max(-1, ...width.keys()) + 1) / 32);
  const live = bound.map(() => new Int32Array(size));
  const next = bound.map((_, i) => successors(bound, kernel, i));
  for (let changed = true; changed;) {
    changed = false;
    for (let i = bound.length - 1; i >= 0; i--) {
      const now = new Int32Array(size);
      for (const to of next[i]!)
        if (to < bound.length) for (let j = 0; j < size; j++) now[j] = now[j]! | live[to]![j]!;
      if (bound[i]!.guard === undefined)
        for (const { id } of used[i]!.writes) now[id >> 5] = now[id >> 5]! & ~(1 << (id & 31));
      for (const { id } of used[i]!.reads) now[id >> 5] = now[id >> 5]! | (1 << (id & 31));
      if (now.some((word, j) => word !== live[i]![j])) {
        live[i] = now;
        changed = true;
      }
    }
  }
  return Int32Array.from(live, (set) => {
    let words = 0;
    for (const [id, w] of width)
      if ((set[id >> 5]! >>> (id & 31)) & 1 && (among === undefined || among.has(id))) words += w;
    return words;
  });
}
