/** The schedules of the library against what their papers publish. */
import { describe, expect, test } from "vitest";
import {
  actionsOf,
  bestOrder,
  printFormula,
  prove,
  publishedPieces,
  simulate,
  bubbleFormula,
} from "../../compiler/pipeline/index.ts";
import type { PlainAction, Proved } from "../../compiler/pipeline/index.ts";
import { runPieces } from "../../compiler/pipeline/pieces.ts";
import { libraryPipeline } from "./load.ts";
import type { Pipeline } from "../../compiler/pipeline/index.ts";

function proved(pipeline: Pipeline): Proved {
  const proof = prove(pipeline.schedule);
  if (proof.verdict === "refused") throw new Error(proof.diagnostic.message);
  return proof;
}

/** `F0`, `I1`, `W`, `F0&B1`: 0 is the direction, or the stage, that is nearer to where a rank's work begins. */
function names(actions: readonly PlainAction[], phaseOf: (action: PlainAction) => number): readonly string[] {
  const one = (action: PlainAction): string =>
    action.kind === "W" ? "W" : `${action.kind}${phaseOf(action)}`;
  return actions.map((action) => (action.of === undefined ? one(action) : action.of.map(one).join("&")));
}

/**
 * The eight steps of dualpipe.py and dualpipev.py, from their counts. `h` is the distance of a rank from the nearer end,
 * or its number in DualPipeV; the parity rule of step 6 is the source's.
 */
function steps(counts: readonly number[], h: number, isMiddle: boolean): readonly string[] {
  const [n1 = 0, n2 = 0, n3 = 0, n4 = 0, n5 = 0, n6 = 0, n7 = 0, n8 = 0] = counts;
  const out: string[] = [];
  for (let i = 0; i < n1; i++) out.push("F0");
  for (let i = 0; i < n2; i++) out.push("F0", "F1");
  for (let i = 0; i < n3; i++) out.push("I1", "W", "F1");
  for (let i = 0; i < n4; i++) out.push(...(i === 0 && isMiddle ? ["F0", "B1"] : ["F0&B1"]), "F1&B0");
  for (let i = 0; i < n5; i++) out.push("B1", "F1&B0");
  let zeroBubble = false;
  for (let i = 0; i < n6; i++) {
    if (i === Math.floor(n6 / 2) && h % 2 === 1) zeroBubble = true;
    out.push(zeroBubble ? "I1" : "B1");
    if (i === Math.floor(n6 / 2) && h % 2 === 0) zeroBubble = true;
    out.push(zeroBubble ? "I0" : "B0");
  }
  for (let i = 0; i < n7; i++) out.push("W", "I0");
  for (let i = 0; i < n8; i++) out.push("W");
  return out;
}

const evens = [2, 4, 6, 8, 10, 12, 14, 16];

describe("the published step counts", () => {
  test.each(evens)("DualPipe on %i ranks", (P) => {
    for (let M = 2 * P; M <= 6 * P; M += 2) {
      const { schedule } = libraryPipeline("dualpipe", P, M);
      for (let r = 0; r < P; r++) {
        const h = Math.min(r, P - 1 - r);
        const a = P / 2 - h - 1;
        const near = r < P / 2 ? "down" : "up";
        const counts = [2 * a, h + 1, a, M / 2 - P + h + 1, a, h + 1, a, h + 1];
        const found = names(actionsOf(schedule, r), ({ direction }) => (direction === near ? 0 : 1));
        expect(found, `rank ${r}, ${M} micro-batches`).toEqual(steps(counts, h, h === P / 2 - 1));
      }
    }
  });

  test.each(evens)("DualPipeV on %i ranks", (P) => {
    for (let M = 2 * P; M <= 6 * P; M += 2) {
      const { schedule } = libraryPipeline("dualpipev", P, M);
      for (let r = 0; r < P; r++) {
        const a = P - r - 1;
        const counts = [2 * a, r + 1, a, M - 2 * P + r + 1, a, r + 1, a, r + 1];
        const found = names(actionsOf(schedule, r), ({ stage }) => (stage === r ? 0 : 1));
        expect(found, `rank ${r}, ${M} micro-batches`).toEqual(steps(counts, r, r === P - 1));
      }
    }
  });

  test("the golden counts of the paper's figure", () => {
    const { schedule } = libraryPipeline("dualpipe", 8, 20);
    const [rank0, rank3] = [actionsOf(schedule, 0), actionsOf(schedule, 3)];
    expect(names(rank0, ({ direction }) => (direction === "down" ? 0 : 1))).toEqual(
      steps([6, 1, 3, 3, 3, 1, 3, 1], 0, false),
    );
    expect(names(rank3, ({ direction }) => (direction === "down" ? 0 : 1))).toEqual(
      steps([0, 4, 0, 6, 0, 4, 0, 4], 3, true),
    );
  });
});

const costs: { F: number; B: number; W: number; FB: number }[] = [];
for (const F of [1, 2, 3])
  for (let W = 0; W <= F; W++)
    for (const FB of [2 * F + W, 2 * F + W - 1]) costs.push({ F, B: F + W, W, FB });

describe("the published bubbles, simulated", () => {
  const table: readonly (readonly [
    string,
    string,
    (P: number, c: (typeof costs)[number]) => number,
    (P: number) => string,
  ])[] = [
    ["gpipe", "gpipe", (P, { F, B }) => (P - 1) * (F + B), (P) => `${P - 1}(F + B)`],
    ["1f1b", "1f1b", (P, { F, B }) => (P - 1) * (F + B), (P) => `${P - 1}(F + B)`],
    ["interleaved", "of chunks", (P, { F, B }) => (P - 1) * (F + B), (P) => `${P - 1}(F + B)`],
    ["zb1p", "zb1p", (P, { F, B, W }) => (P - 1) * (F + B - 2 * W), (P) => `${P - 1}(F + B - 2W)`],
    [
      "dualpipe",
      "dualpipe",
      (P, { B, W, FB }) => (P / 2 - 1) * (FB + B - 3 * W),
      (P) => `${P / 2 - 1}(F&B + B - 3W)`,
    ],
    [
      "dualpipev",
      "PP = 2P",
      (P, { B, W, FB }) => (P - 1) * (FB + B - 3 * W),
      (P) => `${P - 1}(F&B + B - 3W)`,
    ],
  ];
  test.each(table)("%s (%s)", (name, _what, published, formula) => {
    for (const P of [4, 6, 8])
      for (const M of [2 * P, 3 * P, 4 * P]) {
        const { schedule } = libraryPipeline(name, P, M);
        const proof = proved(libraryPipeline(name, P, M));
        for (const cost of costs) {
          const simulated = simulate(schedule, { costs: cost });
          const says = `P ${P} M ${M} ${JSON.stringify(cost)}`;
          expect(simulated.longestIdle, says).toBe(published(P, cost));
          if (cost.FB === cost.F + cost.B)
            expect(new Set(simulated.idle), says).toEqual(new Set([published(P, cost)]));
        }
        if (P === 4 && name === "dualpipe") continue;
        const bubble = bubbleFormula(
          simulate(schedule, { costs: { F: 3, B: 5, W: 2, FB: 7 } }),
          proof.channels,
        );
        expect([printFormula(bubble.formula), bubble.isExact]).toEqual([formula(P), true]);
      }
  });
});

test("the published memory: parameters and activations", () => {
  const P = 8;
  const memory = (name: string, M: number): readonly [number, number] => {
    const proof = proved(libraryPipeline(name, P, M));
    return [Math.max(...proof.memory.activations), proof.memory.stagesHeld];
  };
  expect(memory("gpipe", 24)).toEqual([24, 1]);
  expect(memory("1f1b", 24)).toEqual([P, 1]);
  expect(memory("zb1p", 24)).toEqual([P, 1]);
  expect(memory("dualpipe", 24)).toEqual([P + 1, 2]);
  // PP = 2P stages on P ranks.
  expect(memory("dualpipev", 24)).toEqual([2 * P + 1, 2]);
});

describe("the inside of an overlapped pair", () => {
  test("the scheduler finds the order of the paper's figure 4 from the times of its pieces", () => {
    expect(bestOrder(publishedPieces, "FB")).toEqual({
      compute: ["attention(F)", "mlp(B)", "mlp(W)", "mlp(F)", "attention(B)", "attention(W)"],
      communication: ["combine(B)", "dispatch(F)", "dispatch(B)", "combine(F)"],
    });
  });

  test("and another one from other times: a long dispatch of the backward hides attention too", () => {
    const times = {
      ...publishedPieces.times,
      "attention(F)": 10,
      "combine(B)": 0.1,
      "dispatch(F)": 0.1,
      "combine(F)": 0.1,
      "dispatch(B)": 20,
    };
    expect(bestOrder({ ...publishedPieces, times }, "FB").compute[0]).toBe("mlp(B)");
  });

  const end = (layers: number): number =>
    runPieces(
      { pieces: publishedPieces, order: bestOrder(publishedPieces, "FB"), scale: 1, layers },
      { compute: 0, communication: 0 },
      { forward: 0, backward: 0 },
    )?.end ?? 0;

  test("the measured layer time of 32.25 ms within 5%: four layers from a cold start, and each layer after many", () => {
    expect(Math.abs(end(4) / 4 / 32.25 - 1)).toBeLessThan(0.05);
    expect(Math.abs((end(40) - end(39)) / 32.25 - 1)).toBeLessThan(0.05);
  });

  test("a pair in a pipeline takes it too", () => {
    const { schedule } = libraryPipeline("dualpipe", 4, 40);
    const simulation = simulate(schedule, { pieces: publishedPieces });
    // The starts of the steady phase's pairs on rank 0, past those that the pipeline's filling still holds up.
    const starts: number[] = [];
    for (let e = schedule.start[0] ?? 0; e < (schedule.start[1] ?? 0); e++)
      if (((schedule.kind[e] ?? 0) & 4) !== 0) starts.push(simulation.start[e] ?? 0);
    const [from, to] = [starts[10] ?? 0, starts[20] ?? 0];
    expect(Math.abs((to - from) / 10 / 4 / 32.25 - 1)).toBeLessThan(0.05);
  });

  test("both streams are busy as long as measured, within 5%", () => {
    const busy = (isWanted: (name: string) => boolean): number =>
      Object.entries(publishedPieces.times).reduce(
        (sum, [name, time]) => sum + (isWanted(name) ? time : 0),
        0,
      );
    const communicates = (name: string): boolean => /^(dispatch|combine)/.test(name);
    expect(Math.abs(busy(communicates) / (114.5 / 4) - 1)).toBeLessThan(0.05);
    expect(Math.abs(busy((name) => !communicates(name)) / ((118.2 + 11.4) / 4) - 1)).toBeLessThan(0.05);
  });
});
