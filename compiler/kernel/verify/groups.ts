/** Parts of a block: roles, and barriers of groups of threads. */
import type { Op } from "../ir.ts";
import type { Verifier } from "../verify.ts";

const warpgroup = 128;
const warp = 32;
/** Hardware barriers beside the block's. */
const groupBarriers = 15;

export function verifyBarrier({ group }: Op<"barrier">, cx: Verifier): void {
  if (group === undefined)
    return cx.check(
      cx.crew.threads === cx.kernel.threads,
      "all of the block's threads meet, and this is a role's",
    );
  const { first, threads } = cx.crew;
  cx.check(
    group.threads > 0 &&
      group.threads % warp === 0 &&
      first % group.threads === 0 &&
      threads % group.threads === 0,
    `groups of ${group.threads} of the ${threads} threads from ${first}`,
  );
  const last = group.first + (first + threads) / group.threads - 1;
  cx.check(
    Number.isInteger(group.first) &&
      group.first >= 0 &&
      group.first + first / group.threads >= 1 &&
      last <= groupBarriers,
    `barriers ${group.first + first / group.threads} to ${last}, of 1 to ${groupBarriers}`,
  );
}

export function verifyRoles(op: Op<"roles">, cx: Verifier): void {
  cx.check(cx.isAtTop, "roles stand at the top of a kernel only");
  for (const { name, threads } of op.roles)
    cx.check(
      Number.isInteger(threads) && threads > 0 && threads % warpgroup === 0,
      `${name} has ${threads} threads, no multiple of ${warpgroup}`,
    );
  const sum = op.roles.reduce((all, role) => all + role.threads, 0);
  cx.check(sum === cx.kernel.threads, `roles of ${sum} threads in a block of ${cx.kernel.threads}`);
}
