/**
 * What a `schedule` block of the source asks of a kernel: parts of a choice in the source's words. It fixes numbers of
 * a schedule whose sides it names, and is obeyed as it stands or refused.
 */
import type { Place } from "../../diagnostics/diagnostic.ts";
import type { LoopAxis } from "../../tensor/ir.ts";
import { knobs, type Choice, type Fixed, type Knob, type Schedule } from "./choice.ts";

/** Threads of a warpgroup, in which roles are counted. */
export const warpgroup = 128;

export interface Wish {
  readonly tile: readonly TileWish[];
  readonly knobs: Partial<Readonly<Record<Knob, number>>>;
  /** The axis that the warpgroups share. */
  readonly over: string | undefined;
  readonly place: Place;
}

export interface TileWish {
  /** Sizes (`N`) or index variables (`n`) of one side. */
  readonly axes: readonly string[];
  readonly size: number;
}

/** What the wish fixes of the schedule's choices; undefined where it names a side that the schedule does not have. */
export function fixedBy(wish: Wish, schedule: Schedule): Fixed | undefined {
  const tile: (number | undefined)[] = schedule.sides.map(() => undefined);
  const all = schedule.sides.flat();
  for (const { axes, size } of wish.tile) {
    const at = schedule.sides.findIndex((side) => isSide(axes, side, all));
    // A side of nothing but single places is one that no tile needs to name.
    if (at < 0) return undefined;
    tile[at] = size;
  }
  return { ...wish.knobs, tile };
}

/** Whether the names are the side's axes, whatever their order; axes of one place need not be named. */
function isSide(names: readonly string[], side: readonly LoopAxis[], all: readonly LoopAxis[]): boolean {
  const named = names.map((name) => axisNamed(name, all));
  if (named.includes(undefined)) return false;
  return (
    named.every((axis) => axis !== undefined && side.includes(axis)) &&
    side.every((axis) => named.includes(axis) || isSingle(axis))
  );
}

/** The one axis that has the size, or else the index variable; undefined for none, or for several. */
function axisNamed(name: string, all: readonly LoopAxis[]): LoopAxis | undefined {
  const sized = all.filter((axis) => axis.size === name);
  const found = sized.length > 0 ? sized : all.filter((axis) => axis.name === name);
  return found.length === 1 ? found[0] : undefined;
}

function isSingle({ extent }: LoopAxis): boolean {
  return extent.kind === "const" && extent.value === 1;
}

/** How a schedule block names the side: `N`, `(S H)`; undefined where two axes have one name. */
export function sideText(side: readonly LoopAxis[], all: readonly LoopAxis[]): string | undefined {
  const many = side.filter((axis) => !isSingle(axis));
  const names = (many.length === 0 ? side.slice(0, 1) : many).map((axis) =>
    [axis.size, axis.name].find((name) => name !== undefined && axisNamed(name, all) === axis),
  );
  if (names.length === 0 || names.includes(undefined)) return undefined;
  return names.length === 1 ? names[0] : `(${names.join(" ")})`;
}

/** The clauses that fix a choice in full. */
export function clausesOf({ sides, named = [] }: Schedule, choice: Choice): string {
  const all = sides.flat();
  const tiles = sides.flatMap((side, k): string[] => {
    const text = sideText(side, all);
    return text === undefined ? [] : [`${text} ${choice.tile[k] ?? 0}`];
  });
  const clauses: string[] = tiles.length === 0 ? [] : [`tile ${tiles.join(", ")}`];
  if (choice.stages > 1 || named.includes("stages")) clauses.push(`stages ${choice.stages}`);
  if (choice.threads % warpgroup === 0 && choice.stages > 1)
    clauses.push(`roles copy ${choice.copy}, math ${choice.threads / warpgroup}`);
  else clauses.push(`threads ${choice.threads}`);
  if (choice.persistent === 1) clauses.push("persistent");
  if (choice.cluster > 1) clauses.push(`cluster ${choice.cluster}`);
  if (choice.shared === 1 || named.includes("shared")) clauses.push(`shared ${choice.shared}`);
  return clauses.join("; ");
}

/** How far a choice is from what is asked: by how many factors of two its numbers differ. */
export function distance(fixed: Fixed, choice: Choice): number {
  const apart = (wanted: number | undefined, have: number | undefined): number =>
    wanted === undefined || have === undefined ? 0 : Math.abs(Math.log2((wanted + 1) / (have + 1)));
  return (
    fixed.tile.reduce<number>((sum, wanted, k) => sum + apart(wanted, choice.tile[k]), 0) +
    knobs.reduce((sum, knob) => sum + apart(fixed[knob], choice[knob]), 0)
  );
}
