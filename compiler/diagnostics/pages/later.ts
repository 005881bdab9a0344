/** Pages about numerics, schedules, pipelines, and what is not there yet. */
import type { Page } from "../pages.ts";

export const laterPages: Readonly<Record<string, Page>> = {
  WF3001: {
    title: "numerics clause",
    page: `'numerics' changes a function's result within a stated bound:

    numerics Mla { contract: e4m3 @ (1, 128), (128, 128); accumulate: f32 every 128; bound: rel 2^-5 }

'contract' gives the types of the two factors, a float dtype or tf32, 'accumulate' the running sum's type, 'bound' the greatest
||error|| / ||result||.`,
  },
  WF3002: {
    title: "numerics for an unknown function",
    page: `'numerics' names a function, a module, or a module's function of this file.`,
  },
  WF4001: {
    title: "unknown schedule clause",
    page: `A schedule says how, never what:

    schedule Mla.decode on sm_90a { tile (S H) 64, T 64; split T auto; roles copy 0, math 2 over Ck; stages 2; persistent }

The automatic scheduler prints its choice in this syntax.`,
  },
  WF4002: {
    title: "schedule for an unknown function",
    page: `'schedule' names a function, a module, or a module's function of this file.`,
  },
  WF4003: {
    title: "schedule item",
    page: `The items of a schedule clause are axes, groups of axes '(S H)', whole numbers and a few words; a target is sm_80 and up, ptx, cuda, wgsl, llvm or js. A clause and an axis stand once.`,
  },
  WF4004: {
    title: "unknown axis in a schedule",
    page: `A schedule names axes of the function that it is for, by their sizes as written there.`,
  },
  WF5001: {
    title: "unknown pipeline action",
    page: `The actions are F forward, B whole backward, I input gradient and W weight gradient; 'overlap(a, b)' interleaves two.`,
  },
  WF5002: {
    title: "pipeline item",
    page: `A pipeline has one 'rank', one or more 'direction's, 'let's, and 'phase's of actions:

    pipeline Simple[P, M] where P >= 2, M >= P {
      rank r in P
      direction down: stage r
      phase forward  for i in M { F(down) }
      phase backward for i in M { B(down) }
    }`,
  },
  WF6001: {
    title: "gradients: not there yet",
    page: `'grad' and 'vjp' are part of the language. This version checks their names and cannot compile them, so it says so instead of giving a wrong answer.`,
  },
  WF6002: {
    title: "kernel blocks: not there yet",
    page: `A 'kernel' block is part of the language. This version reads it and cannot compile it. The function that it implements compiles without it.`,
  },
  WF6003: {
    title: "device meshes: not there yet",
    page: `Placement ('@ ep') and the operations that communicate (all_gather, reduce_scatter, send, recv) are part of the language. This version checks their names and compiles for one device.`,
  },
};
