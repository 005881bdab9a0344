/** Matrices between the registers of a warp and shared memory: `ldmatrix`, `stmatrix`, `movmatrix` (PTX ISA 9.7.14.5). */
import { SimulateError } from "../finding.ts";
import type { Site } from "../compile/site.ts";
import { found, locate, recordOf } from "../machine/access.ts";
import { bindAddress, inBounds } from "../machine/address.ts";
import { checkRead, checkWrite } from "../machine/check.ts";
import { countAccess } from "../machine/counts.ts";
import { wasWrite } from "../machine/journal.ts";
import type { Warp } from "../machine/warp.ts";
import { checkAligned } from "./barrier.ts";
import { basesOf } from "./fragments.ts";
import type { Step, WarpRow } from "./row.ts";

/** Calls `visit` with the matrix, row and region offset of each 16-byte row whose address a lane gives (9.7.14.5.15). */
function eachRow(
  w: Warp,
  site: Site,
  count: number,
  write: boolean,
  visit: (matrix: number, row: number, offset: number) => void,
): void {
  const checks = w.machine.options.memoryChecks;
  const flags = write ? wasWrite : 0;
  const record = recordOf(w, site.id, flags);
  for (let lane = 0; lane < 8 * count; lane++) {
    const offset = locate(w, site, site.choices["space"] ?? "generic", lane);
    const { region } = found;
    if (!inBounds(w, site, lane, region, offset, 16, 16)) continue;
    if (checks) (write ? checkWrite : checkRead)(w, region!, offset, 16, lane, record, flags);
    visit(lane >> 3, lane & 7, offset);
  }
  const lanes = count === 4 ? -1 : (1 << (8 * count)) - 1;
  countAccess(w, "shared", lanes, 16, write ? "written" : "read");
}

function bindLdmatrix(site: Site): Step {
  const registers = basesOf(site, site.operands[0]);
  const addressOf = bindAddress(site, site.operands[1]);
  const count = Number(site.choices["num"]!.slice(1));
  if (registers.length !== count)
    throw new SimulateError(
      `${site.instruction.text}: ${registers.length} registers for ${count} matrices`,
      site.instruction.line,
    );
  const transposed = site.choices["trans"] !== undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    addressOf(w, mask);
    const rows = new Uint16Array(64 * count);
    eachRow(w, site, count, false, (matrix, row, offset) => {
      for (let c = 0; c < 8; c++) rows[matrix * 64 + row * 8 + c] = found.region!.u16[(offset >> 1) + c]!;
    });
    registers.forEach((base, matrix) => {
      for (let lane = 0; lane < 32; lane++) {
        const [r, c] = [lane >> 2, 2 * (lane & 3)];
        const first = transposed ? c * 8 + r : r * 8 + c;
        const second = transposed ? first + 8 : first + 1;
        w.U[base + lane] = rows[matrix * 64 + first]! | (rows[matrix * 64 + second]! << 16);
      }
    });
  };
}

function bindStmatrix(site: Site): Step {
  const addressOf = bindAddress(site, site.operands[0]);
  const registers = basesOf(site, site.operands[1]);
  const count = Number(site.choices["num"]!.slice(1));
  if (registers.length !== count)
    throw new SimulateError(
      `${site.instruction.text}: ${registers.length} registers for ${count} matrices`,
      site.instruction.line,
    );
  const transposed = site.choices["trans"] !== undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    addressOf(w, mask);
    eachRow(w, site, count, true, (matrix, row, offset) => {
      for (let c = 0; c < 8; c++) {
        const [r, q] = transposed ? [c, row] : [row, c];
        const word = w.U[registers[matrix]! + r * 4 + (q >> 1)]!;
        found.region!.u16[(offset >> 1) + c] = word >>> (16 * (q & 1));
      }
    });
  };
}

function bindMovmatrix(site: Site): Step {
  const [to, from] = site.operands.map((value) => basesOf(site, value)[0]!) as [number, number];
  return (w, mask) => {
    checkAligned(w, mask, site);
    const rows = new Uint16Array(64);
    for (let lane = 0; lane < 32; lane++) {
      rows[2 * lane] = w.U[from + lane]!;
      rows[2 * lane + 1] = w.U[from + lane]! >>> 16;
    }
    for (let lane = 0; lane < 32; lane++) {
      const [r, c] = [lane >> 2, 2 * (lane & 3)];
      w.U[to + lane] = rows[c * 8 + r]! | (rows[(c + 1) * 8 + r]! << 16);
    }
  };
}

export const matrixRows: readonly WarpRow[] = [
  {
    pattern: "ldmatrix.sync.aligned.m8n8.num:x1|x2|x4.trans?trans.space?shared|shared::cta.b16",
    section: "9.7.14.5.15",
    writes: [0],
    bind: bindLdmatrix,
  },
  {
    pattern: "stmatrix.sync.aligned.m8n8.num:x1|x2|x4.trans?trans.space?shared|shared::cta.b16",
    section: "9.7.14.5.16",
    writes: [],
    bind: bindStmatrix,
  },
  {
    pattern: "movmatrix.sync.aligned.m8n8.trans.b16",
    section: "9.7.14.5.17",
    writes: [0],
    bind: bindMovmatrix,
  },
];
