/**
 * Copies from global to shared memory that pass by the registers (PTX ISA 9.7.9.25.3, "cp.async").
 *
 * Operands: where to, where from, and how many bytes of the source to read; the rest of the copy is zeros, and
 * with 0 the source is not touched. A thread sees its own copies after `cp.async.wait.N`, which waits for all but
 * its youngest N groups, and other threads' after a barrier that follows it.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Instruction, PtxInstruction, Warp } from "./instruction.ts";

const section = "9.7.9.25.3";
const needs: PtxInstruction["needs"] = { sm: 80, isa: [7, 0] };
const common = { section, needs, results: [], destinations: "defined", scope: "thread" } as const;

const commit: Instruction = {
  ...common,
  name: "cp.async.commit",
  operands: [],
  precondition: "none",
  align: 1,
  evaluate: (warp) => {
    for (const lane of warp.active) warp.copies.commit(lane);
  },
  ptx: () => "cp.async.commit_group",
};

export const cpAsyncInstructions: readonly Instruction[] = [
  ...([4, 8, 16] as const).map((bytes) => copy(bytes)),
  commit,
  ...Array.from({ length: 8 }, (_, pending) => wait(pending)),
];

function copy(bytes: 4 | 8 | 16): Instruction {
  // Only 16 bytes may bypass L1, which a tile that goes to shared memory has no use for.
  const cache = bytes === 16 ? "cg" : "ca";
  return {
    ...common,
    name: `cp.async.${bytes}`,
    operands: ["shared", "global", "i32"],
    precondition: `both addresses are multiples of ${bytes} bytes; the size is 0 to ${bytes}`,
    align: bytes,
    evaluate: (warp) => {
      for (const lane of warp.active) beginCopy(warp, lane, bytes);
    },
    ptx: (_, [to = "", from = "", size = ""]) =>
      `cp.async.${cache}.shared.global ${to}, ${from}, ${bytes}, ${size}`,
  };
}

function beginCopy(warp: Warp, lane: number, bytes: number): void {
  const to = warp.pointer(0, lane);
  const size = warp.operand(2, lane);
  invariant(size >= 0 && size <= bytes, `cp.async.${bytes} reads ${size} bytes`);
  invariant(to.byte % bytes === 0, `cp.async.${bytes} writes at byte ${to.byte}`);
  const contents = new Uint8Array(bytes);
  if (size > 0) {
    const from = warp.pointer(1, lane);
    invariant(from.byte % bytes === 0, `cp.async.${bytes} reads at byte ${from.byte}`);
    contents.set(from.memory.read(from.byte, size));
  }
  warp.copies.begin(lane, () => to.memory.write(to.byte, contents));
}

function wait(pending: number): Instruction {
  return {
    ...common,
    name: `cp.async.wait.${pending}`,
    operands: [],
    precondition: "none",
    align: 1,
    evaluate: (warp) => {
      for (const lane of warp.active) warp.copies.wait(lane, pending);
    },
    ptx: () => `cp.async.wait_group ${pending}`,
  };
}
