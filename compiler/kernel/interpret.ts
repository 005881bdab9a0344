/**
 * Runs a kernel: the meaning of the kernel IR, and the oracle of what the emitters print.
 *
 * Blocks run one after another, the threads of a block in lockstep, op by op; an `if` narrows who is active, a
 * `for` runs until its last thread is done. The roles of a block take turns, each in lockstep, and change at waits
 * that are not over (`interpret/roles.ts`). Copies, products and stores happen at the latest moment that they may
 * (`interpret/copy-engine.ts`, `interpret/matrix-unit.ts`). What is wrong on a real device but would work in lockstep is a
 * `KernelFault`: accesses out of bounds or off their alignment, two threads at one place without a barrier
 * between, a barrier or shuffle that not all reach, asynchronous copies nobody waited for, waits that no one can end.
 * Shared memory begins as bytes 0xff, which is NaN in every float.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { Block, type Flags, type Launch } from "./interpret/block.ts";
import { Cluster } from "./interpret/cluster.ts";
import { BufferMemory } from "./interpret/memory.ts";
import { drive, suspends } from "./interpret/roles.ts";
import type { Buffer, Kernel } from "./ir.ts";

export { KernelFault } from "./interpret/memory.ts";
export type { Launch } from "./interpret/block.ts";

export function interpretKernel(kernel: Kernel, launch: Launch): void {
  const global = kernel.buffers.filter((buffer) => buffer.space === "global");
  invariant(
    global.length === launch.buffers.length,
    `${kernel.name} takes ${global.length} buffers, not ${launch.buffers.length}`,
  );
  const memory = new Map<Buffer, BufferMemory>();
  global.forEach((buffer, k) =>
    memory.set(buffer, new BufferMemory(kernel.name, buffer, launch.buffers[k] ?? new Uint8Array(0))),
  );
  const [columns, rows, layers] = launch.grid;
  const flags: Flags = new Map();
  for (let z = 0; z < layers; z += 1) {
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += kernel.cluster ?? 1) {
        const cluster = new Cluster();
        for (let rank = 0; rank < (kernel.cluster ?? 1); rank += 1)
          cluster.blocks.push(new Block(kernel, launch, memory, { flags, cluster }, [x + rank, y, z]));
        run(cluster.blocks);
      }
    }
  }
}

/** Blocks of a cluster at once, to their ends. */
function run(blocks: readonly Block[]): void {
  const [first] = blocks;
  if (first === undefined) return;
  if (first.kernel.body.some(suspends)) drive(blocks);
  else for (const block of blocks) block.ops(first.kernel.body, block.role.threads);
  for (const block of blocks) block.finish();
}
