/**
 * Launches that begin before the one ahead of them has ended (PTX ISA 9.7.13.14, `griddepcontrol`). A kernel says when
 * those after it may begin, and waits, before it touches what others write, until the launch ahead has ended and what
 * it wrote is seen. Where a launch is ordinary, neither does anything.
 */
import type { Instruction } from "./instruction.ts";

const common = {
  section: "9.7.13.14",
  needs: { sm: 90, isa: [7, 8] },
  results: [],
  destinations: "defined",
  operands: [],
  scope: "thread",
  align: 1,
  // The interpreter runs one launch after another.
  evaluate: () => undefined,
} as const;

export const dependentInstructions: readonly Instruction[] = [
  {
    ...common,
    name: "dependents.launch",
    precondition: "none",
    ptx: () => "griddepcontrol.launch_dependents",
  },
  {
    ...common,
    name: "predecessor.await",
    precondition: "no memory that another launch writes has been touched",
    ptx: () => "griddepcontrol.wait",
  },
];
