/** Parts of a block: what each role's threads run, and barriers of fewer threads than the block's. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Op } from "../../kernel/ir.ts";
import type { Context } from "./context.ts";
import type { EmitBody } from "./control.ts";

type Group = NonNullable<Op<"barrier">["group"]>;

/** Roles are whole warpgroups, so that a warpgroup's number says whose a thread is. */
const warpgroup = 128;

/**
 * Each role but the first is branched to. The warpgroup's number is handed on by a lane of its own warp: ptxas then
 * knows that a warp does not part here, which the instructions of whole warps and warpgroups in the bodies need.
 */
export function emitRoles(op: Op<"roles">, cx: Context, body: EmitBody): void {
  const [here, group] = [cx.temporary("b32", "warpgroup"), cx.temporary("b32", "warpgroup")];
  cx.instruction(`mov.u32 ${here}, %tid.x`);
  cx.instruction(`shr.u32 ${here}, ${here}, 7`);
  cx.instruction(`shfl.sync.idx.b32 ${group}, ${here}, 0, 31, 0xffffffff`);
  const labels = op.roles.map((role) => cx.newLabel(role.name));
  const end = cx.newLabel("roles_end");
  let first = 0;
  for (const [i, role] of op.roles.entries()) {
    const next = labels[i + 1];
    const beyond = first + role.threads;
    invariant(beyond % warpgroup === 0, `role ${role.name} has ${role.threads} threads`);
    if (next !== undefined) {
      const isOther = cx.temporary("pred", `is_not_${role.name}`);
      cx.instruction(`setp.ge.u32 ${isOther}, ${group}, ${beyond / warpgroup}`);
      cx.instruction(`@${isOther} bra.uni ${next}`);
    }
    cx.inRange({ first, count: role.threads }, () => cx.scoped(() => body(role.body, cx)));
    if (next !== undefined) {
      cx.instruction(`bra.uni ${end}`);
      cx.label(next);
    }
    first = beyond;
  }
  cx.label(end);
}

export function emitBarrier({ group }: Op<"barrier">, cx: Context): void {
  if (group === undefined) cx.instruction("bar.sync 0");
  else cx.instruction(`bar.sync ${barrierOf(group, cx)}, ${group.threads}`);
}

/** An immediate where all threads here are of one group: for a register, ptxas sets all 16 barriers aside. */
function barrierOf({ threads, first }: Group, cx: Context): string {
  const low = Math.floor(cx.range.first / threads);
  const high = Math.floor((cx.range.first + cx.range.count - 1) / threads);
  if (low === high) return String(first + low);
  return cx.once(`barrier ${threads} ${first}`, () => {
    const [thread, group] = [cx.temporary("b32", "thread"), cx.temporary("b32", "group")];
    cx.instruction(`mov.u32 ${thread}, %tid.x`);
    cx.instruction(`div.u32 ${group}, ${thread}, ${threads}`);
    if (first === 0) return group;
    const barrier = cx.temporary("b32", "barrier");
    cx.instruction(`add.u32 ${barrier}, ${group}, ${first}`);
    return barrier;
  });
}
