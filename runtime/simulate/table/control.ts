/** Control flow (PTX ISA 9.7.12) and instructions of the machine (9.7.19). */
import type { FlowRow, Step, WarpRow } from "./row.ts";

const nothing: Step = () => undefined;
const quiet = (pattern: string, section: string): WarpRow => ({
  pattern,
  section,
  writes: [],
  bind: () => nothing,
});

export const flowRows: readonly FlowRow[] = [
  { pattern: "bra.uni?uni", section: "9.7.12.3", flow: "branch" },
  { pattern: "brx.idx.uni?uni", section: "9.7.12.4", flow: "indexed" },
  { pattern: "call.uni?uni", section: "9.7.12.5", flow: "call" },
  { pattern: "ret.uni?uni", section: "9.7.12.6", flow: "exit" },
  { pattern: "exit", section: "9.7.12.7", flow: "exit" },
  { pattern: "trap", section: "9.7.19.4", flow: "trap" },
];

const rest: Step = (w) => {
  w.machine.yield = true;
};

export const controlRows: readonly WarpRow[] = [
  { pattern: "nanosleep.u32", section: "9.7.19.2", writes: [], bind: () => rest },
  quiet("pmevent.mask?mask", "9.7.19.3"),
  quiet("brkpt", "9.7.19.1"),
];
