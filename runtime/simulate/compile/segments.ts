/** Cuts a kernel into segments and generates a function for each. */
import { SimulateError } from "../finding.ts";
import type { Instruction, KernelSyntax } from "../parse/syntax.ts";
import type { FlowRow, LaneRow, Row, WaitRow, WarpRow } from "../table/row.ts";
import { matchOpcode } from "../table/match.ts";
import { table } from "../table/index.ts";
import { findLabel, resolve, resolveName, type Layout } from "./resolve.ts";
import { generate, type Piece } from "./generate.ts";
import { postDominators } from "./post-dominators.ts";
import { registersOf, type Register, type Site } from "./site.ts";
import type { End, Guarded, Segment } from "./segment.ts";

export interface Bound {
  readonly site: Site;
  readonly row: Row;
  readonly guard: Guarded | undefined;
}

export const isLane = (row: Row): row is LaneRow => "is" in row;
export const isWarp = (row: Row): row is WarpRow => "bind" in row;
export const isWait = (row: Row): row is WaitRow => "attempt" in row;
export const isFlow = (row: Row): row is FlowRow => "flow" in row;

/** Operands that are values: of control flow, whose other names are labels, only the selector of `brx.idx`. */
function valuesOf(row: Row, instruction: Instruction): Instruction["operands"] {
  if (!isFlow(row)) return instruction.operands;
  return row.flow === "indexed" ? instruction.operands.slice(0, 1) : [];
}

export function bindInstructions(kernel: KernelSyntax, layout: Layout): Bound[] {
  return kernel.instructions.map((instruction, id) => {
    const { row, choices } = matchOpcode(table, instruction.parts, instruction.line);
    const operands = valuesOf(row, instruction).map((operand) => resolve(layout, instruction, operand));
    return { row, site: { id, instruction, choices, operands }, guard: guardOf(layout, instruction) };
  });
}

function guardOf(layout: Layout, instruction: Instruction): Guarded | undefined {
  if (instruction.guard === undefined) return undefined;
  const value = resolveName(layout, instruction, instruction.guard.name, false);
  if (value.kind !== "register" || value.register.bits !== 1) {
    throw new SimulateError(`${instruction.guard.name} is no predicate`, instruction.line);
  }
  return { register: value.register, negated: instruction.guard.negated };
}

/** Registers that an instruction writes and reads. */
export function registersUsed({ site, row, guard }: Bound): { reads: Register[]; writes: Register[] } {
  const writes: Register[] = [];
  const reads: Register[] = guard === undefined ? [] : [guard.register];
  const written = isLane(row) ? [0] : isWarp(row) || isWait(row) ? row.writes : [];
  site.operands.forEach((operand, i) => (written.includes(i) ? writes : reads).push(...registersOf(operand)));
  return { reads, writes };
}

type BoundList = readonly Bound[];

interface Draft {
  pieces: Bound[];
  end: End | undefined;
}

/** The segments by the index of the instruction they begin with, before labels are turned into segments. */
class Cutter {
  private readonly kernel: KernelSyntax;
  private readonly bound: BoundList;
  private readonly starts: Map<number, number> = new Map();
  private readonly drafts: Draft[] = [];

  constructor(kernel: KernelSyntax, bound: BoundList) {
    this.kernel = kernel;
    this.bound = bound;
  }

  cut(): Draft[] {
    const leaders = this.leaders();
    // A guarded instruction that may wait becomes a branch around it, so that lanes part and meet as at any branch.
    let count = 0;
    for (const at of leaders) {
      this.starts.set(at, count);
      count += this.isGuardedWait(at) ? 2 : 1;
    }
    leaders.forEach((at, i) => this.segment(at, leaders[i + 1] ?? this.bound.length));
    return this.drafts;
  }

  private isGuardedWait(at: number): boolean {
    const bound = this.bound[at];
    return (
      bound !== undefined &&
      bound.guard !== undefined &&
      (isWait(bound.row) || (isFlow(bound.row) && bound.row.flow !== "branch"))
    );
  }

  private leaders(): number[] {
    const leaders = new Set([0]);
    this.bound.forEach(({ row, site }, i) => {
      if (isFlow(row)) {
        leaders.add(i + 1);
        for (const label of this.labelsOf(row, site)) leaders.add(label);
      }
      if (isWait(row) || (isWarp(row) && row.alone === true)) {
        leaders.add(i);
        leaders.add(i + 1);
      }
      if (this.isGuardedWait(i)) leaders.add(i);
    });
    // Lanes that fall off the end of the text exit, in a segment of their own.
    leaders.add(this.bound.length);
    return [...leaders].sort((a, b) => a - b);
  }

  private labelsOf(row: FlowRow, site: Site): number[] {
    const { instruction } = site;
    const labelAt = (name: string): number => {
      const at = findLabel(instruction.scope, name);
      if (at === undefined) throw new SimulateError(`there is no label ${name}`, instruction.line);
      return at;
    };
    const nameOf = (i: number): string => {
      const operand = instruction.operands[i];
      if (operand?.kind !== "name")
        throw new SimulateError(`${instruction.text} has no label`, instruction.line);
      return operand.name;
    };
    if (row.flow === "branch") return [labelAt(nameOf(0))];
    if (row.flow !== "indexed") return [];
    const targets = this.kernel.targets.get(nameOf(1));
    if (targets === undefined)
      throw new SimulateError(`there is no .branchtargets ${nameOf(1)}`, instruction.line);
    return targets.map(labelAt);
  }

  private segment(start: number, stop: number): void {
    const index = this.drafts.length;
    const next = this.starts.get(stop) ?? index;
    const pieces = this.bound.slice(start, stop);
    const last = pieces[pieces.length - 1];
    if (last === undefined) {
      this.drafts.push({ pieces: [], end: { kind: "exit", site: undefined, around: -1 } });
      return;
    }
    if (this.isGuardedWait(start)) {
      this.drafts.push({
        pieces: [],
        end: { kind: "branch", guard: last.guard!, taken: index + 1, next, site: undefined },
      });
      this.drafts.push({ pieces: [], end: this.endOf(last, next) });
      return;
    }
    const ends = isFlow(last.row) || isWait(last.row);
    this.drafts.push({
      pieces: ends ? pieces.slice(0, -1) : pieces,
      end: ends ? this.endOf(last, next) : { kind: "next", next },
    });
  }

  private endOf({ row, site, guard }: Bound, next: number): End {
    if (isWait(row)) return { kind: "wait", site, attempt: row.attempt(site), next };
    if (!isFlow(row))
      throw new SimulateError(`${site.instruction.text} ends no segment`, site.instruction.line);
    const targets = this.labelsOf(row, site).map((label) => this.starts.get(label)!);
    switch (row.flow) {
      case "branch":
        return guard === undefined
          ? { kind: "next", next: targets[0]! }
          : { kind: "branch", guard, taken: targets[0]!, next, site };
      case "exit":
        return { kind: "exit", site, around: guard === undefined ? -1 : next };
      case "trap":
        return { kind: "trap", site, around: next };
      case "indexed":
        return { kind: "indexed", selector: site.operands[0]!, targets, site };
      case "call":
        throw new SimulateError(
          `${site.instruction.text}: I do not simulate calls; inline the function`,
          site.instruction.line,
        );
    }
  }
}

export function successorsOf(end: End): number[] {
  switch (end.kind) {
    case "next":
    case "wait":
      return [end.next];
    case "branch":
      return [end.taken, end.next];
    case "indexed":
      return [...end.targets];
    // Lanes that exit are no longer waited for, so the place where the others meet is found as if none did.
    default:
      return end.around < 0 ? [] : [end.around];
  }
}

function bitSet(registers: readonly Register[], count: number): Int32Array {
  const set = new Int32Array(Math.ceil(count / 32));
  for (const { id } of registers) set[id >> 5] = set[id >> 5]! | (1 << (id & 31));
  return set;
}

export function makeSegments(
  kernel: KernelSyntax,
  bound: readonly Bound[],
  layout: Layout,
  live: Int32Array,
): Segment[] {
  const drafts = new Cutter(kernel, bound).cut();
  const waits = new Map(bound.map((b) => [b.site, b]));
  const idom = postDominators(drafts.map((draft) => successorsOf(draft.end!)));
  return drafts.map((draft, index) => {
    const wgmma = draft.pieces.some(({ site }) => site.instruction.parts[0] === "wgmma");
    const end = draft.end!;
    const counted = end.kind === "wait" ? [...draft.pieces, waits.get(end.site)!] : draft.pieces;
    const used = wgmma ? [] : counted.map(registersUsed);
    const writes = used.flatMap((u) => u.writes);
    const touched = [...used.flatMap((u) => u.reads), ...writes];
    if (end.kind === "branch") touched.push(end.guard.register);
    const pieces: Piece[] = draft.pieces.map(({ row, site, guard }) => ({
      site,
      guard,
      lane: isLane(row) ? row : undefined,
      step: isWarp(row) ? row.bind(site) : undefined,
    }));
    return {
      index,
      sites: draft.pieces.map((piece) => piece.site),
      run: generate(pieces),
      end,
      reconverge: idom[index]!,
      touched: bitSet(touched, layout.registers.length),
      written: bitSet(writes, layout.registers.length),
      wgmma,
      live: Math.max(0, ...counted.map((b) => live[b.site.id]!)),
    };
  });
}
