/** What is proved, what is refused and why, against all interleavings of small schedules. */
import { describe, expect, test } from "vitest";
import { format } from "../../grammar/format.ts";
import { check } from "../../compiler/index.ts";
import { instructionsOf, prove, simulate } from "../../compiler/pipeline/index.ts";
import { compiled, libraryPipeline, pipelineOf, textOf } from "./load.ts";

const library = ["gpipe", "1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"];

describe("schedules that are right", () => {
  test.each(library)("%s is proved with one buffer and with M", (name) => {
    for (const [P, M] of [
      [2, 4],
      [4, 8],
      [4, 16],
      [6, 12],
    ] as const) {
      const { schedule } = libraryPipeline(name, P, M);
      expect(prove(schedule).verdict).toBe("proved");
      expect(prove(schedule, { buffers: 1 }).verdict).toBe("proved");
    }
  });

  test("the contract's file checks, and the library's DualPipe is it", () => {
    const text = textOf("test/contract/dualpipe.dsl");
    expect(textOf("stdlib/pipeline/dualpipe.dsl")).toBe(format(text).text);
    expect(check({ source: { file: "d.dsl", text }, host: { read: () => undefined } }).diagnostics).toEqual(
      [],
    );
  });

  test("an executor's sends and receives pair in order", () => {
    const { schedule } = libraryPipeline("dualpipev", 4, 8);
    const proof = prove(schedule);
    if (proof.verdict === "refused") throw new Error(proof.diagnostic.message);
    const [sent, received] = [new Map<number, string[]>(), new Map<number, string[]>()];
    for (let rank = 0; rank < 4; rank++)
      for (const { sends, receives } of instructionsOf(schedule, proof, rank))
        for (const [list, into] of [
          [sends, sent],
          [receives, received],
        ] as const)
          for (const { queue, kind, micro } of list)
            into.set(queue, [...(into.get(queue) ?? []), `${kind} ${micro}`]);
    expect(sent).toEqual(received);
    expect(sent.size).toBe(4 * 3);
  });

  test.each(library)(
    "%s: a stage's weights may be updated once, and nothing reads them after that",
    (name) => {
      const { schedule } = libraryPipeline(name, 4, 8);
      const proof = prove(schedule);
      if (proof.verdict === "refused") throw new Error(proof.diagnostic.message);
      for (let rank = 0; rank < 4; rank++) {
        const updated = new Set<string>();
        for (const { actions, updates } of instructionsOf(schedule, proof, rank)) {
          for (const { kind, direction, stage } of actions)
            if (kind !== "W") expect(updated).not.toContain(`${direction} ${stage}`);
          for (const { direction, stage } of updates) updated.add(`${direction} ${stage}`);
        }
        expect(updated.size).toBe(schedule.lanes);
      }
    },
  );
});

describe("schedules that are wrong", () => {
  const text = textOf("test/contract/dualpipe.dsl");
  const lines = text.split("\n");

  /** What is missed first without a phase: its own work. */
  test.each([
    ["warm", "F(down)"],
    ["fill", "F(down)"],
    ["zero", "F(up)"],
    ["steady", "F(down)"],
    ["drain", "B(down)"],
    ["empty", "B(down)"],
    ["weights", "I(down)"],
    ["rest", "weight gradient"],
  ])("DualPipe without phase %s", (phase, work) => {
    const first = lines.findIndex((line) => line.includes(`phase ${phase} `));
    let last = first;
    if (lines[first]?.endsWith("{") === true) while (lines[last]?.trim() !== "}") last += 1;
    const cut = [...lines.slice(0, first), ...lines.slice(last + 1)].join("\n");
    const proof = prove(pipelineOf(cut, 8, 20).schedule);
    expect(proof.verdict === "refused" && proof.diagnostic.message).toContain(work);
    const checked = check({ source: { file: "d.dsl", text: cut }, host: { read: () => undefined } });
    expect(checked.diagnostics.map(({ code }) => code.slice(0, 3))).toEqual(["WF5"]);
  });

  test("deadlock.dsl fails at line 6, with the cycle", () => {
    const stuck = textOf("test/contract/errors/deadlock.dsl");
    const { diagnostics } = check({
      source: { file: "d.dsl", text: stuck },
      host: { read: () => undefined },
    });
    expect(
      diagnostics.map(({ code, labels: [{ place }] }) => [
        code,
        stuck.slice(0, place.start).split("\n").length,
      ]),
    ).toEqual([["WF5008", 6]]);
    const proof = prove(pipelineOf(stuck, 4, 8).schedule);
    expect(proof.verdict === "refused" && [proof.stuck.length, [...proof.reached], proof.cycle]).toEqual([
      4,
      [0, 16, 32, 48],
      [0],
    ]);
  });

  const block = (body: string, stages = "r"): string =>
    `pipeline A[P, M] where P >= 2 {\n  rank r in P\n  direction down: stage ${stages}\n  ${body.replaceAll("; ", "\n  ")}\n}\n`;
  const wrong: readonly (readonly [string, string, string])[] = [
    ["WF5003", "divides by 0", block("phase a for i in M / 0 { F(down) }")],
    ["WF5003", "-1 times", block("phase a for i in r - 1 { F(down) }")],
    ["WF5003", "a number, and a condition", block("phase a for i in M { if i then F(down) else B(down) }")],
    ["WF5004", "puts stage 4 on rank 2", block("phase a for i in M { F(down) }", "2 * r")],
    ["WF5004", "holds several stages", block("phase a for i in M { F(down) }", "r, r + P")],
    ["WF5003", "holds 2, counted from 0", block("phase a for i in M { F(down, 2) }", "r, r + P")],
    ["WF5005", "does not allow P = 4", block("phase a for i in M { F(down) }").replace("P >= 2", "P < 4")],
    ["WF5006", "0 of 4 B(down) or I(down)", block("phase a for i in M { F(down) }")],
    ["WF5007", "none is owed", block("phase a for i in M { F(down), B(down), W }")],
    [
      "WF5007",
      "ends with 4 weight gradients owed",
      block("phase a for i in M { F(down) }; phase b for i in M { I(down) }"),
    ],
    [
      "WF5008",
      "waits at B(down) of micro-batch 1 for F(down) of micro-batch 1 of phase 'b'",
      block(
        "phase a { if r == 0 then { F(down), B(down) } else { F(down), B(down) } }; phase b for i in M - 1 { overlap(F(down), B(down)) }",
      ),
    ],
    [
      "WF5009",
      "next chunk is another",
      block(
        "phase a for i in 2 * M { if r == 0 then F(down, i / M) else F(down, 1 - i / M) }; phase b for i in 2 * M { B(down, 1 - i / M) }",
        "r, r + P",
      ),
    ],
    ["WF5010", "one F with one B or I", block("phase a for i in M { overlap(F(down), F(down)) }")],
  ];
  test.each(wrong)("%s: %s", (code, message, source) => {
    const { pipeline, diagnostics } = compiled(source, 4, 4);
    const proof = pipeline === undefined ? undefined : prove(pipeline.schedule);
    const found = proof?.verdict === "refused" ? [proof.diagnostic] : diagnostics;
    expect(found.map((each) => `${each.code} ${each.message}`).join("\n")).toContain(message);
    expect(found[0]?.code).toBe(code);
  });
});

test("jitter is by its seed, uneven stages and links lengthen the step", () => {
  const { schedule } = libraryPipeline("1f1b", 4, 8);
  const time = (options: Parameters<typeof simulate>[1]): number => simulate(schedule, options).makespan;
  expect(time({ jitter: 0.2, seed: 1 })).toBe(time({ jitter: 0.2, seed: 1 }));
  expect(time({ jitter: 0.2, seed: 1 })).not.toBe(time({ jitter: 0.2, seed: 2 }));
  expect(time({})).toBe((8 + 3) * 3);
  expect(time({ stageCosts: [1, 2] })).toBeGreaterThan(time({}));
  // Down and back again at every stage but the last: the first micro-batch alone waits for six messages.
  expect(time({ link: { latency: 0.5 } })).toBeGreaterThanOrEqual(time({}) + 6 * 0.5);
  expect(time({ link: { bandwidth: 2, bytes: 1 } })).toBeGreaterThanOrEqual(time({}) + 6 * 0.5);
});

describe("used as a library", () => {
  test.each([0, -1, 2.5, Number.NaN, Infinity])("%s ranks, micro-batches or buffers are refused", (size) => {
    const text = textOf("stdlib/pipeline/gpipe.dsl");
    for (const [ranks, micro] of [[size, 4] as const, [4, size] as const])
      expect(compiled(text, ranks, micro).diagnostics.map(({ code }) => code)).toEqual(["WF5005"]);
    const proof = prove(libraryPipeline("gpipe", 2, 4).schedule, { buffers: size });
    expect(proof.verdict === "refused" && proof.diagnostic.code).toBe("WF5005");
  });

  test("a schedule that stops is not simulated", () => {
    const text = textOf("test/contract/errors/deadlock.dsl");
    expect(() => simulate(pipelineOf(text, 4, 8).schedule)).toThrow("not proved");
  });
});
