/** What a kernel may take: shared memory, registers, threads; and how many of its clusters fit on a device. */
import type { Kernel } from "../compile/kernel.ts";
import { addFinding, sideOfSite } from "./findings.ts";
import type { FindingCode } from "../finding.ts";
import type { Grid, Machine } from "./machine.ts";

/** Shared memory of a block with the opt-in, and of a multiprocessor, by compute capability (CUDA programming guide, table 30). */
const sharedLimits: Readonly<Record<string, number>> = {
  "80": 166912,
  "86": 101376,
  "87": 166912,
  "89": 101376,
  "90": 232448,
};
const staticLimit = 49152;
const registerFile = 65536;

export function sharedLimit(target: string): number {
  return sharedLimits[/\d+/.exec(target)?.[0] ?? ""] ?? 232448;
}

export function residentClusters(
  kernel: Kernel,
  block: readonly [number, number, number],
  clusterSize: number,
  dynamic: number,
  processors: number,
): number {
  const threads = block[0] * block[1] * block[2];
  const shared = kernel.sharedBytes + dynamic + 1024;
  const together = Math.max(1, Math.min(32, Math.floor(2048 / threads), Math.floor(233472 / shared)));
  return Math.max(1, Math.floor((processors * together) / clusterSize));
}

function find(machine: Machine, grid: Grid, code: FindingCode, message: string): void {
  const site = grid.number << 16;
  addFinding(machine, {
    code,
    message: () => message,
    site,
    at: () => sideOfSite(machine, site, `the launch of ${grid.kernel.name}`),
  });
}

export function checkBudgets(machine: Machine, grid: Grid, target: string): void {
  const { kernel } = grid;
  const [x, y, z] = grid.block;
  const threads = x * y * z;
  if (kernel.sites.length === 0) return;
  const shared = kernel.sharedBytes + grid.dynamicShared;
  if (shared > sharedLimit(target))
    find(
      machine,
      grid,
      "shared-budget",
      `a block takes ${shared} bytes of shared memory; ${target} has ${sharedLimit(target)}`,
    );
  if (grid.dynamicShared === 0 && kernel.sharedBytes > staticLimit) {
    find(
      machine,
      grid,
      "shared-budget",
      `${kernel.sharedBytes} bytes of static shared memory; ptxas allows ${staticLimit}`,
    );
  }
  if (threads > 1024)
    find(machine, grid, "register-budget", `a block of ${threads} threads; 1024 is the most`);
  const most = kernel.directives.get(".maxntid") ?? kernel.directives.get(".reqntid");
  if (most !== undefined && threads > most.reduce((a, b) => a * b, 1)) {
    find(
      machine,
      grid,
      "register-budget",
      `a block of ${threads} threads, where the kernel says ${most.join(" x ")}`,
    );
  }
  const required = kernel.directives.get(".reqntid");
  if (required !== undefined && threads !== required.reduce((a, b) => a * b, 1)) {
    find(
      machine,
      grid,
      "register-budget",
      `a block of ${threads} threads, where the kernel requires ${required.join(" x ")}`,
    );
  }
  const cap = Math.min(255, kernel.directives.get(".maxnreg")?.[0] ?? 255);
  if (kernel.matrixRegisters > cap)
    find(
      machine,
      grid,
      "register-budget",
      `the accumulators and fragments of wgmma alone take ${kernel.matrixRegisters} registers of a thread, which has ${cap}`,
    );
  const clusterSize = grid.cluster[0] * grid.cluster[1] * grid.cluster[2];
  if (clusterSize > 16)
    find(machine, grid, "cluster-misuse", `a cluster of ${clusterSize} blocks; 16 is the most`);
}

/** Registers a thread has before any setmaxnreg: an equal share of the file, in steps of 8. */
export function initialRegisters(grid: Grid): number {
  const threads = grid.block[0] * grid.block[1] * grid.block[2];
  const cap = grid.kernel.directives.get(".maxnreg")?.[0];
  const blocks = grid.kernel.directives.get(".minnctapersm")?.[0] ?? 1;
  return cap ?? Math.min(255, Math.floor(registerFile / (threads * blocks) / 8) * 8);
}
