/**
 * Roles: each lowered for its own threads. Before they part, the channels between them are set up; at the end of
 * each, what the copy engine still writes for it is waited for.
 */
import type { Axis, Role, TileOp } from "../../tile/ir.ts";
import { visitOps } from "../../tile/walk.ts";
import { coordinateValue, type Context } from "./context.ts";
import { Team, type BarrierNumbers } from "./team.ts";

const registerFile = 65536;

export function lowerRoles(
  cx: Context,
  roles: readonly Role[],
  lower: (body: readonly TileOp[]) => void,
  numbers: BarrierNumbers,
): void {
  const { b } = cx;
  cx.turns.declare(cx, roles);
  cx.channels.initialise(cx, roles);
  let first = 0;
  const block = cx.team;
  const placed = roles.map((role) => {
    const team = new Team(b, role.threads, first, numbers, role.active);
    first += role.threads;
    return { role, team };
  });
  // What each thread has before registers change hands.
  const share = registerFile / roles.reduce((sum, { threads }) => sum + threads, 0);
  b.roles(
    placed.map(({ role, team }) => ({
      name: role.name,
      threads: role.threads,
      body: () => {
        cx.team = team;
        if (role.registers !== undefined) {
          const way = role.registers > share ? "inc" : "dec";
          b.instruction(`setmaxnreg.${way}.${role.registers}`, [], []);
        }
        const work = (): void => {
          cx.channels.enter(cx, role.body);
          cx.turns.enter(cx, role.body);
          lower(role.body);
          finishDrains(cx, role.body);
        };
        if (role.active === "one") b.if(team.leads(), work);
        else {
          shareCoordinates(cx, role.body);
          work();
        }
        cx.common.clear();
      },
    })),
  );
  cx.team = block;
  // A block's shared memory and barriers stay while another of its cluster may still reach them.
  cx.channels.meetCluster(cx);
}

/**
 * A coordinate that changes between subgroups only is taken from one lane, so that what is computed from it is
 * known to be common: descriptors and addresses then need no register of each thread.
 */
function shareCoordinates(cx: Context, body: readonly TileOp[]): void {
  const { b, caps } = cx;
  if (caps.subgroup === 1) return;
  const axes = new Set<Axis>();
  visitOps(body, (op) => {
    const own = op.kind === "mma" ? op.acc.axes : "axes" in op ? op.axes : [];
    for (const axis of own) {
      const { place } = axis;
      if (place.kind === "thread" && axis.size > 1 && place.stride % caps.subgroup === 0) axes.add(axis);
    }
  });
  for (const axis of axes) {
    const common = b.shuffleIndex(coordinateValue(cx, axis), b.i32(0), axis.name);
    cx.common.set(axis, b.bound(common, 0, axis.size - 1));
  }
}

/** Shared memory is gone with the block, so whoever began a copy out of it waits until that has been read. */
function finishDrains(cx: Context, body: readonly TileOp[]): void {
  const { b } = cx;
  let drains = false;
  visitOps(body, (op) => {
    drains ||= op.kind === "drain";
  });
  if (drains) b.instruction("bulk.wait.read.0", [], []);
}
