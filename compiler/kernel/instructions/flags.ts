/**
 * Flags in global memory between the blocks of a launch: one raises a flag when others may see what it has written,
 * another waits for it and lowers it again (PTX ISA 8.7, "Release and Acquire Patterns").
 *
 * A flag is one u32 element, 0 where it is down.
 */
import type { Instruction } from "./instruction.ts";

const common = {
  section: "8.7.1",
  needs: { sm: 70, isa: [6, 0] },
  results: [],
  destinations: "defined",
  operands: ["global"],
  scope: "thread",
  align: 4,
} as const;

export const flagInstructions: readonly Instruction[] = [
  {
    ...common,
    name: "flag.raise",
    precondition: "the flag is down",
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.raise(0, lane);
    },
    ptx: (_, [place = ""]) => `st.release.gpu.global.u32 ${place}, 1`,
  },
  {
    ...common,
    name: "flag.meet",
    precondition: "no other thread waits for the flag",
    isReady: (warp, lane) => warp.engines.isRaised(0, lane),
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.lower(0, lane);
    },
    ptx: (_, [place = ""]) =>
      `{ .reg .pred down; .reg .u32 flag; again: ld.acquire.gpu.global.u32 flag, ${place}; setp.eq.u32 down, flag, 0; @down bra again; st.relaxed.gpu.global.u32 ${place}, 0; }`,
  },
];
