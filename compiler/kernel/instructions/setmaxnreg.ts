/**
 * A warpgroup's registers, by the thread (PTX ISA 9.7.19.5, "setmaxnreg"): roles that compute take what roles that
 * copy give back. The interpreter's threads have all they ask for.
 */
import type { Instruction } from "./instruction.ts";

const counts = Array.from({ length: 30 }, (_, i) => 24 + 8 * i);

export const setmaxnregInstructions: readonly Instruction[] = (["inc", "dec"] as const).flatMap((way) =>
  counts.map((count) => ({
    name: `setmaxnreg.${way}.${count}`,
    section: "9.7.19.5",
    results: [],
    destinations: "defined",
    operands: [],
    precondition: `the warpgroup has ${way === "inc" ? "no more" : "no fewer"} than ${count} registers a thread`,
    scope: "warpgroup",
    align: 1,
    evaluate: () => undefined,
    ptx: () => `setmaxnreg.${way}.sync.aligned.u32 ${count}`,
    needs: { sm: 90, isa: [8, 0] },
  })),
);
