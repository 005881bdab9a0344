/** One JavaScript function for a straight run of instructions; runs of lane instructions share a loop over the lanes. */
import * as bits from "../numeric/bits.ts";
import * as exact from "../numeric/exact.ts";
import * as formats from "../numeric/formats.ts";
import * as functions from "../numeric/functions.ts";
import type { Warp } from "../machine/warp.ts";
import type { LaneRow, Step } from "../table/row.ts";
import { laneCode, type LaneCode } from "./lane-code.ts";
import type { Guarded } from "./segment.ts";
import type { Site } from "./site.ts";

export interface Piece {
  readonly site: Site;
  readonly guard: Guarded | undefined;
  readonly lane: LaneRow | undefined;
  readonly step: Step | undefined;
}

const clamp = <T extends number | bigint>(x: T, low: T, high: T): T => (x < low ? low : x > high ? high : x);

/** What `H` means in generated text. */
const numeric = { ...bits, ...exact, ...formats, ...functions, clamp };

// A loop of more instructions than this makes a function that V8 is slow to optimise.
const longest = 32;

function laneLoop(codes: readonly LaneCode[]): string {
  const predicates = new Set(codes.flatMap((code) => code.predicates));
  const written = new Set(codes.flatMap((code) => code.written));
  const load = [...predicates].map((p) => `let p${p} = I[${p}];`).join(" ");
  const store = [...written].map((p) => `I[${p}] = p${p};`).join(" ");
  return `{ ${load}\nfor (let l = 0; l < 32; l++) { if (!(m >>> l & 1)) continue;\n${codes.map((code) => code.text).join("\n")}\n}\n${store} }`;
}

function stepCall(index: number, guard: Guarded | undefined): string {
  if (guard === undefined) return `S[${index}](w, m);`;
  const word = `I[${guard.register.base}]`;
  return `{ const g = m & ${guard.negated ? `~${word}` : word}; if (g !== 0) S[${index}](w, g); }`;
}

function nothing(): void {
  // A segment of control flow alone has no body.
}

export function generate(pieces: readonly Piece[]): (w: Warp, mask: number) => void {
  if (pieces.length === 0) return nothing;
  const steps: Step[] = [];
  const parts: string[] = [];
  let loop: LaneCode[] = [];
  const close = (): void => {
    if (loop.length > 0) parts.push(laneLoop(loop));
    loop = [];
  };
  for (const { site, guard, lane, step } of pieces) {
    if (lane !== undefined) {
      loop.push(laneCode(site, lane, guard));
      if (loop.length >= longest) close();
    } else if (step !== undefined) {
      close();
      parts.push(stepCall(steps.length, guard));
      steps.push(step);
    }
  }
  close();
  // The text is made of the table's expressions and of numbers; no name of the PTX text goes into it.
  const functions: ((w: Warp, m: number) => void)[] = [];
  for (let i = 0; i < parts.length; i += 4) {
    const body = `"use strict"; return function (w, m) { const { I, U, F, D, B, BU, K } = w;\n${parts.slice(i, i + 4).join("\n")}\n};`;
    functions.push(
      (
        new Function("H", "S", body) as (
          h: typeof numeric,
          s: readonly Step[],
        ) => (w: Warp, m: number) => void
      )(numeric, steps),
    );
  }
  if (functions.length === 1) return functions[0]!;
  return (w, m) => {
    for (let i = 0; i < functions.length; i++) functions[i]!(w, m);
  };
}
