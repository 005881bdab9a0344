/**
 * Products that stream through reductions into products where all threads of a block load: the same programs as for a
 * copy engine, for targets without one, each in one kernel that computes what the program means.
 */
import { describe, expect, it } from "vitest";
import { lowerTileProgram } from "../../compiler/kernel/from-tile/lower.ts";
import { improve } from "../../compiler/kernel/passes/index.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { wgslMatrixCaps } from "../../compiler/targets/wgsl/caps.ts";
import { wgsl } from "../../compiler/targets/wgsl/index.ts";
import { parse } from "../../compiler/tile/parse.ts";
import {
  attempted,
  compiled,
  expectWithin,
  inputsOf,
  interpreted,
  programs,
  sizes,
  tilesOf,
} from "./cascade-programs.ts";
import { runKernel } from "./kernel-run.ts";

const targets = ["wgsl", "ptx:sm_80"];
/** Nothing is whole tiles, and a row may have no key. */
const odd = { ...sizes, S: 21, T: 39, D: 12, Dv: 10, G: 3 };

/** Scalars take long to interpret: they share the programs out with tests on devices. */
const names = Object.keys(programs);
const own: Readonly<Record<string, readonly string[]>> = {
  wgsl: names.filter((_, k) => k % 2 === 0),
  "ptx:sm_80": names,
};

describe.each(targets)("%s", (target) => {
  it.each(own[target] ?? [])("%s", (name) => {
    const text = programs[name] ?? "";
    const made = compiled(text, odd, target);
    const inputs = inputsOf(made);
    expect(tilesOf(made)).toHaveLength(1);
    expectWithin(interpreted(made, inputs), made, inputs);
  });

  it("a swept axis of whole steps, not of whole blocks", () => {
    const made = compiled(programs["full"] ?? "", { ...odd, S: 9, T: 96, D: 16, Dv: 16 }, target);
    const inputs = inputsOf(made);
    expectWithin(interpreted(made, inputs), made, inputs);
  });

  it("sizes that nobody knows before the launch", () => {
    const dims = new Map(Object.entries({ ...odd, S: 5, T: 11, D: 4, Dv: 6 }));
    const made = compiled(programs["window"] ?? "", {}, target);
    const inputs = inputsOf(made, dims);
    expect(tilesOf(made)).toHaveLength(1);
    expectWithin(interpreted(made, inputs, dims), made, inputs, dims);
  });
});

describe("wgsl:matrices", () => {
  const ofHalves = (name: string): string => (programs[name] ?? "").replaceAll("bf16", "f16");
  it.each([
    "heads that share keys",
    "with the logarithm of the weights' sum",
    "a mask by what stands at rows and columns",
  ])("%s", (name) => {
    const made = compiled(ofHalves(name), odd, "wgsl:matrices");
    const [text = ""] = tilesOf(made);
    expect(text).toContain("matrix.m16n16k16.f16");
    const inputs = inputsOf(made);
    expectWithin(interpreted(made, inputs), made, inputs);
    const program = parse(text);
    const kernel = improve(lowerTileProgram(program, wgslMatrixCaps));
    const legal = wgsl.legalize(kernel, wgslMatrixCaps);
    expect([...verifyKernel(kernel), ...verifyKernel(legal)]).toEqual([]);
    const run = { dims: new Map<string, number>(), subgroup: wgslMatrixCaps.subgroup };
    const written = [...runKernel(legal, program, ({ name: input }) => inputs.get(input)?.bytes, run)];
    const numbers = (result: string): number[] => written.find(([{ name }]) => name === result)?.[1] ?? [];
    expectWithin(numbers, made, inputs);
  });

  it("a schedule is obeyed, or refused with the arithmetic", () => {
    const asked = (clauses: string): string => `${ofHalves("causal")}\nschedule f on wgsl { ${clauses} }\n`;
    const made = compiled(asked("tile S 32, Dv 16, T 32; threads 32"), odd, "wgsl:matrices");
    expect(made.schedules[0]?.block).toContain("tile S 32, Dv 16, T 32; stages 1; threads 32");
    const inputs = inputsOf(made);
    expectWithin(interpreted(made, inputs), made, inputs);
    const refused = attempted(asked("tile S 64, Dv 128, T 64; threads 64"), odd, "wgsl:matrices");
    expect(refused.diagnostics.map(({ code }) => code)).toEqual(["WF4701"]);
    expect(refused.diagnostics[0]?.message).toContain(
      "1024 elements of fragments, over 64 threads are 224 registers a thread, and 128 are for them",
    );
  });

  it("halves of words are not written: lines of an odd length are multiplied as scalars", () => {
    const made = compiled(ofHalves("full"), { ...odd, Dv: 9 }, "wgsl:matrices");
    expect(tilesOf(made).join()).not.toContain("matrix.");
  });
});

const causal = programs["causal"] ?? "";
const scheduled = (clauses: string, on = "wgsl"): string => `${causal}\nschedule f on ${on} { ${clauses} }\n`;

describe("what a schedule asks", () => {
  it.each([
    ["wgsl", "tile S 8, T 32"],
    ["wgsl", "tile S 8, Dv 8, T 8; threads 8"],
    ["wgsl:subgroups", "tile S 32, T 16; threads 64"],
    ["sm_80", "tile S 32, Dv 16, T 16; threads 32"],
    ["sm_80", "tile S 16, T 32"],
  ])("on %s: %s", (on, clauses) => {
    const target = on.startsWith("sm_") ? `ptx:${on}` : on;
    const made = compiled(scheduled(clauses, on.split(":")[0] ?? ""), odd, target);
    for (const clause of clauses.split("; "))
      for (const part of clause.replace("tile ", "").split(", "))
        expect(made.schedules[0]?.block).toContain(part);
    const inputs = inputsOf(made);
    expectWithin(interpreted(made, inputs), made, inputs);
  });

  it.each([
    ["tile S 7, T 32; threads 128", "128 threads do not share 7 rows by 32 places"],
    ["tile S 64, T 64; threads 128", "bytes of shared memory, and a block has 16384"],
    ["tile S 64, Dv 64, T 32; threads 32", "registers a thread, and 56 are for them"],
    ["tile S 32, T 32; stages 2", "there is one tile at a time here, not 2 stages"],
    ["threads 512", "a block has at most 256 threads here, not 512"],
  ])("refused with the arithmetic: %s", (clauses, why) => {
    const { diagnostics } = attempted(scheduled(clauses), { ...odd, Dv: 64, D: 64 }, "wgsl");
    expect(diagnostics.map(({ code }) => code)).toEqual(["WF4701"]);
    expect(diagnostics[0]?.message).toContain(why);
  });
});

describe("where it does not pay", () => {
  it("few rows are sums of rows", () => {
    expect(tilesOf(compiled(programs["full"] ?? "", { ...odd, S: 1 }, "wgsl")).length).toBeGreaterThan(1);
  });

  it("one thread has no room for its sums", () => {
    expect(tilesOf(compiled(programs["full"] ?? "", { ...odd, Dv: 64 }, "js")).length).toBeGreaterThan(1);
  });
});
