/**
 * Linked reductions of a row in one sweep: each thread reduces its own part of the row, and what it has reduced follows
 * the carriers that it uses (`tensor/rescale.ts`); at the end the parts follow the row's.
 *
 *     max: fold over the row; sum: fold exp(x - max) over the row      reads the row twice
 *  =>
 *     for each chunk of the row                                        reads it once, and no thread waits for another
 *       before = max_part;  fold max_part
 *       sum_part *= exp(before - max_part);  fold sum_part by exp(x - max_part)
 *     max = reduce max_part;  sum_part *= exp(max_part - max);  sum = reduce sum_part
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Arena } from "../../tensor/arena.ts";
import type { Carrier, LoopNode, Scalar } from "../../tensor/ir.ts";
import { monoidOf } from "../../tensor/monoids.ts";
import { rescaling, usesCarriers, wayOf, type Change } from "../../tensor/rescale.ts";
import { operandsOf, reachable, rewriteScalars } from "../../tensor/scalars.ts";
import * as t from "../build.ts";
import type { Axis, Tile, TileExpr, TileOp } from "../ir.ts";
import { moved } from "./cascade-reductions.ts";

/** Values of carriers, in the loop's order and then what they were before. */
type Values = readonly (TileExpr | undefined)[];

export interface FollowPlace {
  readonly b: t.TileBuilder;
  readonly arena: Arena;
  readonly loop: LoopNode;
  /** Of a thread's part of a row; of those, which its threads lie along. */
  readonly partAxes: readonly Axis[];
  readonly threadAxes: readonly Axis[];
  readonly rowAxes: readonly Axis[];
  /** Of a chunk's elements that a thread has. */
  readonly foldAxes: readonly Axis[];
  /** Whether a row is one; undefined: all are. */
  readonly rowGuard: TileExpr | undefined;
  readonly translate: (carriers: Values) => (scalar: Scalar) => TileExpr;
}

export interface Followed {
  readonly begins: readonly TileOp[];
  /** What a chunk does, of its elements that count. */
  readonly chunk: (where: TileExpr | undefined) => readonly TileOp[];
  readonly ends: readonly TileOp[];
  /** What the carriers come to. */
  readonly carriers: readonly TileExpr[];
}

/**
 * Whether some carrier uses another, and all of them can be brought on as those change. What a thread has of a row may be
 * anything, its sum nearly nothing while the row's is not; so only exponentials of extrema are, which are of elements.
 */
export function canFollow(arena: Arena, loop: LoopNode): boolean {
  const change = changeOf(arena, loop);
  const isExtremum = (k: number): boolean => change.way(k) !== undefined;
  return (
    loop.carriers.some(({ lift }) => usesCarriers(lift)) &&
    loop.carriers.every(({ monoid, lift, every }) => {
      if (every !== undefined || reachable([lift]).some(({ kind }) => kind === "reduce")) return false;
      if (!usesCarriers(lift)) return true;
      const isOfExtrema = reachable([lift]).every((s) => s.kind !== "carrier" || isExtremum(s.carrier));
      return isOfExtrema && isInExponents(lift) && rescaling(change, monoid, lift) !== undefined;
    })
  );
}

/** True where carriers are in exponents alone. */
function isInExponents(scalar: Scalar): boolean {
  if (!usesCarriers(scalar)) return true;
  if (scalar.kind === "apply" && (scalar.fn === "exp" || scalar.fn === "exp2")) return true;
  return scalar.kind !== "carrier" && operandsOf(scalar).every(isInExponents);
}

/** Carriers' numbers beyond the loop's stand for what they were. */
function changeOf(arena: Arena, { axes, carriers }: LoopNode): Change {
  return {
    arena,
    isSwept: (axis) => axis >= axes.length,
    after: (scalar) => scalar,
    before: (scalar) =>
      rewriteScalars(arena, [scalar], (s) =>
        s.kind === "carrier" ? arena.carrier(s.carrier + carriers.length, s.type) : s,
      )[0] ?? scalar,
    way: wayOf(carriers),
  };
}

export function followed(place: FollowPlace): Followed {
  const { b, loop, partAxes, rowAxes, threadAxes, foldAxes } = place;
  const { carriers } = loop;
  const used = new Set<number>();
  for (const s of reachable(carriers.map(({ lift }) => lift))) if (s.kind === "carrier") used.add(s.carrier);
  const parts = carriers.map(({ name, lift }) => b.tile(`${name}_part`, lift.type, partAxes));
  const totals = carriers.map(({ name, lift }) => b.tile(name, lift.type, rowAxes));
  /** What the parts that others use are at this point. */
  const copied = (
    suffix: string,
    ks: ReadonlySet<number>,
  ): { readonly ops: TileOp[]; readonly values: Values } => {
    const ops: TileOp[] = [];
    const values = parts.map((part, k): TileExpr | undefined => {
      if (!ks.has(k)) return undefined;
      const tile = b.tile(`${carriers[k]?.name ?? "carrier"}_${suffix}`, part.type, partAxes);
      ops.push({ kind: "let", tile, expr: t.valueOf(part), where: undefined, otherwise: undefined });
      return t.valueOf(tile);
    });
    return { ops, values };
  };
  return {
    begins: carriers.map((carrier, k): TileOp => ({
      kind: "var",
      tile: tileAt(parts, k),
      init: identityOf(carrier),
    })),
    chunk: (where) => {
      const before = copied("before", used);
      const ops = [...before.ops];
      const now: (TileExpr | undefined)[] = carriers.map(() => undefined);
      carriers.forEach((carrier, k) => {
        const tile = tileAt(parts, k);
        const translate = place.translate([...now, ...before.values]);
        const expr = translate(carrier.lift);
        ops.push(...follow(place, carrier, tile, translate), {
          kind: "fold",
          tile,
          monoid: carrier.monoid,
          expr,
          over: foldAxes,
          where,
        });
        if (!used.has(k)) return;
        const after = copied("now", new Set([k]));
        ops.push(...after.ops);
        now[k] = after.values[k];
      });
      return ops;
    },
    ends: (() => {
      const before = copied("before", used);
      const translate = place.translate([...totals.map(t.valueOf), ...before.values]);
      return [
        ...before.ops,
        ...carriers.flatMap((carrier, k): TileOp[] => {
          const [src, tile] = [tileAt(parts, k), tileAt(totals, k)];
          const { monoid } = carrier;
          return [
            ...follow(place, carrier, src, translate),
            { kind: "reduce", tile, src, monoid, over: threadAxes },
          ];
        }),
      ];
    })(),
    carriers: totals.map(t.valueOf),
  };
}

/** Brings a thread's part to the values of the carriers that it uses. */
function follow(
  { b, arena, loop, partAxes, rowGuard }: FollowPlace,
  { name, monoid, lift }: Carrier,
  tile: Tile,
  translate: (scalar: Scalar) => TileExpr,
): readonly TileOp[] {
  const found = rescaling(changeOf(arena, loop), monoid, lift);
  invariant(found !== undefined, "the carriers can be brought on");
  if (found === "same") return [];
  const step = b.tile(`${name}_step`, "f32", partAxes);
  const still: TileExpr = { kind: "const", type: "f32", value: found.fn === "mul" ? 1 : 0 };
  // Beyond the rows nothing may be read.
  const where = reachable([found.by]).some(({ kind }) => kind === "read") ? rowGuard : undefined;
  const otherwise = where === undefined ? undefined : still;
  const op: TileOp = { kind: "let", tile: step, expr: translate(found.by), where, otherwise };
  return [op, moved({ ...found, step, op }, tile, t.valueOf(step))];
}

function identityOf({ monoid, lift }: Carrier): TileExpr {
  return { kind: "const", type: lift.type, value: monoidOf(monoid).identity(lift.type) };
}

function tileAt(tiles: readonly Tile[], k: number): Tile {
  const tile = tiles[k];
  invariant(tile !== undefined, `no carrier ${k}`);
  return tile;
}
