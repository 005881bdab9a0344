/** For which numbers of micro-batches a schedule is said to be proved, held against proofs of each. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeGenerality, generalize, prove } from "../../compiler/pipeline/index.ts";
import { compiled, libraryPipeline, pipelineOf } from "./load.ts";

describe("the library", () => {
  test.each([
    ["1f1b", 4, 4, 4, 1],
    ["zb1p", 4, 9, 4, 1],
    ["dualpipe", 6, 14, 12, 2],
    ["dualpipev", 3, 8, 6, 1],
  ] as const)("%s on %i ranks, by induction", (name, ranks, micro, from, step) => {
    for (const options of [{}, { buffers: 1 }])
      expect(generalize(libraryPipeline(name, ranks, micro), options)).toEqual({
        kind: "induction",
        ranks,
        from,
        step,
      });
  });

  test("what has no steady phase is proved up to its size, said plainly", () => {
    expect(describeGenerality(generalize(libraryPipeline("gpipe", 4, 8)), "GPipe")).toBe(
      "proved for GPipe with 4 ranks and every number of micro-batches from 1 up to 8 that it allows, and not for all: 2 phases grow with M, so that there is no one steady phase",
    );
    expect(describeGenerality(generalize(libraryPipeline("interleaved", 4, 12)), "Interleaved")).toBe(
      "proved for Interleaved with 4 ranks and every number of micro-batches from 4 up to 12 that it allows, and not for all: the count of phase 'fill' does not grow evenly with M",
    );
  });
});

const block = (where: string, ...items: readonly string[]): string =>
  `pipeline A[P, M] where ${where} {\n  rank r in P\n  direction down: stage r\n  ${items.join("\n  ")}\n}\n`;

describe("right for small M and wrong for a larger one: never proved for all", () => {
  const pair = "{ F(down), B(down) }";
  test.each([
    [
      "twice as many iterations as micro-batches",
      1,
      6,
      7,
      block("M >= 6", `phase a for i in M + M - 6 ${pair}`),
    ],
    ["a count that stops growing", 2, 9, 10, block("M >= 1", `phase a for i in min(M, 9) ${pair}`)],
    ["a condition on M", 2, 9, 10, block("M >= 1", `phase a for i in if M < 10 then M else M - 1 ${pair}`)],
    [
      "a let that hides how M grows",
      2,
      11,
      12,
      block("M >= 1", "let n = M % 12", `phase a for i in n ${pair}`),
    ],
    [
      "a let of a let",
      2,
      8,
      9,
      block("M >= 1", "let n = M", "let k = min(n, 8)", `phase a for i in k ${pair}`),
    ],
    [
      "an iteration that is another",
      2,
      20,
      21,
      block("M >= 1", `phase a for i in M { if r == 1 and i == 20 then { B(down), F(down) } else ${pair} }`),
    ],
    [
      "a body that looks at M",
      2,
      20,
      21,
      block("M >= 1", `phase a for i in M { if r == 1 and M > 20 then { B(down), F(down) } else ${pair} }`),
    ],
    [
      "weight gradients that pile up",
      2,
      6,
      7,
      block("M >= 6", "phase a for i in M { F(down), I(down) }", "phase b for i in 6 { W }"),
    ],
    [
      "another phase that should grow",
      2,
      8,
      9,
      block("M >= 8", "phase a for i in M { F(down) }", "phase b for i in 8 { B(down) }"),
    ],
    ["a division that is not even", 2, 8, 9, block("M >= 8", `phase a for i in M / 2 + 4 ${pair}`)],
  ] as const)("%s", (_what, ranks, right, wrong, text) => {
    expect(prove(pipelineOf(text, ranks, right).schedule).verdict).toBe("proved");
    expect(prove(pipelineOf(text, ranks, wrong).schedule).verdict).toBe("refused");
    const said = generalize(pipelineOf(text, ranks, right));
    expect(said).toMatchObject({ kind: "sizes", micro: right });
  });
});

/** Two ranks with a steady phase of any body, and what comes before and after it. */
const family = fc.record({
  warm: fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })),
  bodies: fc.tuple(fc.boolean(), fc.boolean()),
  cut: fc.constantFrom("B(down)", "I(down), W", "I(down)"),
  first: fc.boolean(),
  overlap: fc.boolean(),
  count: fc.constantFrom("M - w", "M - w", "M - w", "M + M - w - 4", "min(M, 7) - w", "(M + 4) / 2 - w + 2"),
  buffers: fc.constantFrom(undefined, 1, 2),
});

test("what is said to be proved for all is proved for each", () => {
  const found = { induction: 0, sizes: 0, smallOnly: 0 };
  fc.assert(
    fc.property(family, ({ warm, bodies, cut, first, overlap, count, buffers }) => {
      const body = bodies.map((isForwardFirst) => {
        if (overlap && cut !== "I(down), W") return `overlap(F(down), ${cut})`;
        return isForwardFirst ? `F(down), ${cut}` : `${cut}, F(down)`;
      });
      const choice = (r: number): string =>
        first && body[r]?.startsWith("F") !== true
          ? `{ if i == 0 then { F(down), ${cut} } else { ${body[r] ?? ""} } }`
          : `{ ${body[r] ?? ""} }`;
      const text = block(
        "M >= 4",
        `let w = if r == 0 then ${warm[0]} else ${warm[1]}`,
        "phase warm for i in w { F(down) }",
        `phase steady for i in ${count} { if r == 0 then ${choice(0)} else ${choice(1)} }`,
        `phase drain for i in w { ${cut} }`,
        ...(cut === "I(down)" ? ["phase rest for i in M { W }"] : []),
      );
      const options = buffers === undefined ? {} : { buffers };
      const verdict = (micro: number): string | undefined => {
        const { pipeline } = compiled(text, 2, micro);
        return pipeline === undefined ? undefined : prove(pipeline.schedule, options).verdict;
      };
      if (verdict(4) !== "proved") return;
      const said = generalize(pipelineOf(text, 2, 4), options);
      found[said.kind] += 1;
      const all = Array.from({ length: 16 }, (_, k) => verdict(4 + k));
      if (said.kind === "induction") expect(said).toMatchObject({ from: 4, step: 1 });
      if (said.kind === "induction") expect(new Set(all)).toEqual(new Set(["proved"]));
      if (all.includes("refused")) found.smallOnly += 1;
    }),
    { numRuns: 1500, seed: 3 },
  );
  expect(Math.min(found.induction, found.smallOnly)).toBeGreaterThan(40);
});
