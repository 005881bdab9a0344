/** Roles of channel operations alone, and what may become of them, found by walking every interleaving. */
import fc from "fast-check";
import * as t from "../../compiler/tile/build.ts";
import type { TileOp, TileProgram } from "../../compiler/tile/ir.ts";
import { symbol } from "../../compiler/types/dim.ts";

/** An operation and its channel. A slot that is claimed is filled and not yet handed over. */
export type Op = `${"fill" | "claim" | "commit" | "take" | "release"} ${number}`;

export interface PlainRoles {
  readonly depths: readonly number[];
  /** For each role what it does before a loop, in it, and after. */
  readonly roles: readonly (readonly [readonly Op[], readonly Op[], readonly Op[]])[];
}

export function plainProgram({ depths, roles }: PlainRoles): TileProgram {
  const b = new t.TileBuilder();
  const step = b.counter("step", symbol("K"));
  const channels = depths.map((depth, k) => b.channel(`c${k}`, depth, [b.slotTile(`t${k}`, "f32", [1])]));
  const ops = (list: readonly Op[]): TileOp[] =>
    list.flatMap((op): TileOp[] => {
      const [kind, number] = op.split(" ");
      const channel = channels[Number(number)];
      if (channel === undefined) return [];
      if (kind === "fill") return [{ kind: "fill", channel, copies: [], body: [] }];
      if (kind === "claim") return [{ kind: "fill", channel, copies: [], deferred: true, body: [] }];
      if (kind === "commit") return [{ kind: "commit", channel }];
      return [kind === "take" ? { kind: "take", channel } : { kind: "release", channel, where: undefined }];
    });
  return {
    name: "plain",
    summary: "",
    threads: 128 * roles.length,
    blocks: [],
    buffers: [],
    shared: [],
    channels,
    body: [
      {
        kind: "roles",
        roles: roles.map(([before, inside, after], k) => ({
          name: `r${k}`,
          threads: 128,
          active: "all" as const,
          registers: undefined,
          body: [
            ...ops(before),
            {
              kind: "for",
              counter: step,
              from: undefined,
              below: undefined,
              unroll: false,
              body: ops(inside),
            },
            ...ops(after),
          ],
        })),
      },
    ],
  };
}

/** What goes wrong in some interleaving of the roles, for one trip count: every state that can be reached is visited. */
export function everyInterleaving({ depths, roles }: PlainRoles, trips: number): ReadonlySet<string> {
  const lists = roles.map(([before, inside, after]) => [
    ...before,
    ...Array.from({ length: trips }, () => inside).flat(),
    ...after,
  ]);
  const uses = (kind: string, channel: number): number[] =>
    roles.flatMap((role, k) => (role.flat().includes(`${kind} ${channel}` as Op) ? [k] : []));
  const count = (role: number, at: number, op: string): number =>
    (lists[role] ?? []).slice(0, at).filter((one) => one === op).length;
  const wrong = new Set<string>();
  const seen = new Set<string>();
  const stack: number[][] = [lists.map(() => 0)];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (seen.has(at.join())) continue;
    seen.add(at.join());
    const done = (role: number, op: string): number => count(role, at[role] ?? 0, op);
    let moved = false;
    for (const [role, list] of lists.entries()) {
      const op = list[at[role] ?? 0];
      if (op === undefined) continue;
      const [kind, name] = op.split(" ");
      const channel = Number(name);
      const [fillers, takers] = [uses("fill", channel), uses("take", channel)];
      const mine = done(role, op);
      const depth = depths[channel] ?? 0;
      if (kind === "fill" && takers.length === 0 && mine >= depth) continue;
      if (kind === "fill" && takers.some((other) => done(other, `release ${channel}`) + depth <= mine))
        continue;
      if (kind === "take" && fillers.length === 0) continue;
      if (kind === "take" && fillers.some((other) => done(other, `fill ${channel}`) <= mine)) continue;
      moved = true;
      if (kind === "release" && mine >= done(role, `take ${channel}`)) {
        wrong.add("released-untaken");
        continue;
      }
      stack.push(at.map((place, k) => (k === role ? place + 1 : place)));
    }
    if (moved) continue;
    if (lists.some((list, role) => (at[role] ?? 0) < list.length)) {
      wrong.add("stuck");
      continue;
    }
    for (let channel = 0; channel < depths.length; channel++) {
      const filled = uses("fill", channel).map((role) => done(role, `fill ${channel}`));
      const taken = uses("take", channel).map((role) => done(role, `take ${channel}`));
      const released = uses("take", channel).map((role) => done(role, `release ${channel}`));
      const all = [...filled, ...taken, ...released];
      if (all.some((one) => one !== all[0]) || (filled[0] ?? 0) > 0 !== taken.length > 0)
        wrong.add("left-over");
    }
  }
  return wrong;
}

/** A program that holds, in part taken apart. */
export const randomRoles: fc.Arbitrary<PlainRoles> = fc
  .record({
    depths: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 2 }),
    before: fc.array(fc.nat(1), { maxLength: 1 }),
    inside: fc.array(fc.nat(1), { minLength: 1, maxLength: 3 }),
    late: fc.boolean(),
    drop: fc.option(fc.tuple(fc.nat(1), fc.nat(2), fc.nat(20)), { freq: 2 }),
    move: fc.option(fc.tuple(fc.nat(1), fc.nat(2), fc.nat(20)), { freq: 3 }),
  })
  .map(({ depths, before, inside, late, drop, move }): PlainRoles => {
    const known = (list: readonly number[]): number[] => list.map((channel) => channel % depths.length);
    const fills = (list: readonly number[]): Op[] => known(list).map((channel): Op => `fill ${channel}`);
    const uses = (list: readonly number[]): Op[] => {
      const takes = known(list).map((channel): Op => `take ${channel}`);
      const releases = known(list).map((channel): Op => `release ${channel}`);
      return late ? [...takes, ...releases] : takes.flatMap((take, k) => [take, releases[k] ?? take]);
    };
    const roles: [Op[], Op[], Op[]][] = [
      [uses(before), uses(inside), []],
      [fills(before), fills(inside), []],
    ];
    const dropped = drop === null ? undefined : roles[drop[0]]?.[drop[1]];
    if (drop !== null && dropped !== undefined && dropped.length > 0)
      dropped.splice(drop[2] % dropped.length, 1);
    const moved = move === null ? undefined : roles[move[0]]?.[move[1]];
    if (move !== null && moved !== undefined && moved.length > 1) {
      const [op] = moved.splice(move[2] % moved.length, 1);
      if (op !== undefined) moved.push(op);
    }
    return { depths, roles };
  });
