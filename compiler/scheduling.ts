/**
 * Which `schedule` block of the source holds for which kernel, and what each kernel was computed by in the end, in the
 * same words. A block is obeyed by a kernel or refused; one that no kernel obeys is a mistake too.
 */
import type { TypedFn, TypedProgram, TypedSchedule } from "./check/typed.ts";
import type { Report } from "./diagnostics/diagnostic.ts";
import { scheduleRefused, scheduleTwice, scheduleUnused } from "./diagnostics/schedule.ts";
import type { SplitOptions } from "./passes/split.ts";
import type { Cost } from "./tile/schedule/cost.ts";
import type { Candidate } from "./tile/schedule/choice.ts";
import { best, candidates, obey, programOf, schedulesOf } from "./tile/schedule/choose.ts";
import type { KernelSource } from "./tile/schedule/source.ts";
import { clausesOf } from "./tile/schedule/wish.ts";
import type { TileProgram } from "./tile/ir.ts";
import type { Caps } from "./types/caps.ts";

/** A choice that a kernel has, as a user sees it. */
export interface KernelChoice {
  /** `schedule linear on sm_90a { tile N 128, F 256, D 64; stages 4; roles copy 1, math 2; persistent }`. */
  readonly block: string;
  /** What the cost model says of it; seconds and their terms. */
  readonly cost: Cost;
}

export interface ScheduledKernel extends KernelChoice {
  readonly kernel: string;
  /** All that fit the source's schedule, the one that is taken first, then the cheapest. */
  readonly choices: () => readonly KernelChoice[];
}

/** Takes one of the choices of a kernel, by position. */
export type PickChoice = (kernel: string, choices: readonly KernelChoice[]) => number;

export class Scheduling {
  readonly kernels: ScheduledKernel[] = [];
  /** Splits of long sums, which hold for the function: `schedule linear on sm_90a { split D 8 }`. */
  readonly splits: string[] = [];
  readonly #report: Report;
  readonly #caps: Caps;
  readonly #entry: string;
  readonly #prefix: string;
  readonly #on: string;
  readonly #pick: PickChoice;
  readonly #blocks: readonly TypedSchedule[];
  readonly #used = new Set<TypedSchedule>();
  readonly #sides = new Set<string>();
  readonly #seen: string[] = [];

  constructor(program: TypedProgram, fn: TypedFn, caps: Caps, report: Report, pick: PickChoice = () => 0) {
    this.#report = report;
    this.#caps = caps;
    this.#pick = pick;
    this.#entry = fn.module === undefined ? fn.name : `${fn.module.name}.${fn.name}`;
    this.#prefix = this.#entry.replace(".", "_");
    const [name = "", variant] = caps.target.split(":");
    this.#on = variant?.startsWith("sm_") === true ? variant : name;
    this.#blocks = program.schedules.filter(
      ({ target, on }) =>
        (target === this.#entry || target === fn.module?.name) && (on === name || on === variant),
    );
    for (const [k, block] of this.#blocks.entries()) {
      const other = this.#blocks.slice(0, k).find((one) => isSameTarget(one, block));
      if (other !== undefined) report.add(scheduleTwice(block.place, pathOf(block), other.place));
    }
  }

  /** What the blocks ask of the pass that splits. */
  splitOptions(): SplitOptions {
    return {
      wishes: this.#blocks.flatMap((block) =>
        block.split.flatMap(({ axis, parts, place }) => {
          this.#used.add(block);
          if (parts === undefined) return [];
          const answer = (problem: string | undefined): void => {
            if (problem !== undefined)
              this.#report.add(scheduleRefused(place, this.#entry, [problem], undefined));
          };
          return [{ axis, parts, answer }];
        }),
      ),
      note: (axis, parts) => {
        const block = `schedule ${this.#entry} on ${this.#on} { split ${axis.size ?? axis.name} ${parts} }`;
        if (!this.splits.includes(block)) this.splits.push(block);
      },
    };
  }

  /** The kernel's tile program: by the block that concerns it most closely, else by the cost model alone. */
  program(source: KernelSource, isOnly: boolean): TileProgram {
    const ways = schedulesOf(source, this.#caps);
    const own = this.#ownName(source.name);
    this.#seen.push(own);
    const path = isOnly ? this.#entry : `${this.#entry}.${own}`;
    const within = this.#within(ways, source.name, own);
    const all = (): readonly Candidate[] => {
      const first = within === undefined ? best(ways) : undefined;
      const rest = within ?? candidates(ways);
      return first === undefined ? rest : [first, ...rest.filter((one) => !isSame(one, first))];
    };
    const shown = ({ schedule, choice, cost }: Candidate): KernelChoice => ({
      block: `schedule ${path} on ${this.#on} { ${clausesOf(schedule, choice)} }`,
      cost,
    });
    const list = all();
    const choices = (): readonly KernelChoice[] => list.map(shown);
    const picked = list[this.#pick(source.name, choices())] ?? best(ways);
    this.kernels.push({ kernel: source.name, ...shown(picked), choices });
    return programOf(source, picked.schedule, picked.choice);
  }

  /** Blocks that no kernel had a use for. */
  finish(): void {
    for (const block of this.#blocks) {
      if (this.#used.has(block)) continue;
      const path = pathOf(block);
      if (block.kernel !== undefined && !this.#seen.includes(block.kernel)) {
        this.#report.add(
          scheduleUnused(
            block.place,
            `'${this.#entry}' has no kernel '${block.kernel}'`,
            this.#seen.map((name) => `${this.#entry}.${name}`),
          ),
        );
      } else if (block.target === this.#entry) {
        const asked = block.tile.map(({ axes }) => (axes.length === 1 ? axes[0] : `(${axes.join(" ")})`));
        this.#report.add(
          scheduleUnused(
            block.place,
            asked.length === 0
              ? `no kernel of '${path}' obeys this schedule`
              : `no kernel of '${path}' has tiles along ${asked.join(", ")}`,
            [...this.#sides].map((sides) => `tiles along ${sides}`),
          ),
        );
      }
    }
  }

  /** What the block that concerns the kernel leaves; undefined: there is none. */
  #within(
    ways: ReturnType<typeof schedulesOf>,
    kernel: string,
    own: string,
  ): readonly Candidate[] | undefined {
    const concerned = this.#blocks
      .filter((block) => (block.kernel === undefined || block.kernel === own) && hasClauses(block))
      .sort((a, b) => closeness(b) - closeness(a));
    for (const block of concerned) {
      const found = obey(ways, block);
      if (found.kind === "other sides") {
        for (const sides of found.sides) this.#sides.add(sides);
        continue;
      }
      this.#used.add(block);
      if (found.kind === "fits") return found.candidates;
      this.#report.add(scheduleRefused(block.place, kernel, found.why, found.nearest));
      return undefined;
    }
    return undefined;
  }

  /** `score` of `attend_score`: how a block names a kernel of its function. */
  #ownName(kernel: string): string {
    const own = kernel.slice(this.#prefix.length + 1);
    return kernel.startsWith(`${this.#prefix}_`) && /^[A-Za-z]/.test(own) ? own : kernel;
  }
}

/** A block of `split` alone asks nothing of single kernels. */
function hasClauses({ tile, knobs, over, split }: TypedSchedule): boolean {
  return tile.length > 0 || Object.keys(knobs).length > 0 || over !== undefined || split.length === 0;
}

/** A kernel's block before its function's, that before the module's; an architecture's before its language's. */
function closeness({ target, kernel, on }: TypedSchedule): number {
  return (kernel === undefined ? 0 : 4) + (target.includes(".") ? 2 : 0) + (on.startsWith("sm_") ? 1 : 0);
}

function isSameTarget(a: TypedSchedule, b: TypedSchedule): boolean {
  return a.target === b.target && a.kernel === b.kernel && a.on === b.on;
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.schedule === b.schedule && JSON.stringify(a.choice) === JSON.stringify(b.choice);
}

function pathOf({ target, kernel }: TypedSchedule): string {
  return kernel === undefined ? target : `${target}.${kernel}`;
}

/** The blocks of all kernels, each behind what the cost model says of it; a source may hold the text as it is. */
export function printSchedules({ splits, kernels }: Pick<Scheduling, "splits" | "kernels">): string {
  return [...splits, ...kernels.map(({ block, cost }) => `// ${costText(cost)}\n${block}`)].join("\n");
}

/** `about 12.3 us: products 10.1, first loads and results 2.2`. */
export function costText({ seconds, terms }: Cost): string {
  const micro = (time: number): string => `${Number((time * 1e6).toPrecision(3))}`;
  const parts = terms.filter((term) => term.seconds > 0).map((term) => `${term.name} ${micro(term.seconds)}`);
  return `about ${micro(seconds)} us: ${parts.join(", ")}`;
}
