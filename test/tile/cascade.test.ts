/**
 * Products that stream through reductions into products: which programs become one kernel, and that the kernel computes
 * what the program means, in the tile interpreter and as PTX in the simulator.
 */
import { describe, expect, it } from "vitest";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { parse as parseGraph } from "../../compiler/tensor/parse.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { print as printGraph } from "../../compiler/tensor/print.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import {
  compiled,
  expectWithin,
  inputsOf,
  interpreted,
  numbersOf,
  programs,
  ranOn,
  sizes,
} from "./cascade-programs.ts";

describe("one kernel, which computes what the program means", () => {
  it.each(Object.entries(programs))("%s", (name, text) => {
    const made = compiled(text, name === "heads that share keys" ? { ...sizes, S: 18 } : sizes);
    const inputs = inputsOf(made);
    expectWithin(interpreted(made, inputs), made, inputs);
  });

  it.each(["causal", "with logsumexp"])("the graph of %s prints, parses and means the same", (name) => {
    const made = compiled(programs[name] ?? "", { ...sizes, S: 9, T: 11, D: 64, Dv: 64 });
    const text = made.trace.find(({ pass }) => pass === "cascade")?.text() ?? "";
    expect(text).toContain("within d in 64");
    const arena = new Arena();
    const graph = parseGraph(arena, text);
    expect(printGraph(arena, graph)).toBe(text);
    const inputs = inputsOf(made);
    const { results } = interpret(arena, graph, inputs, new Map(), { bounds: "clamp", errors: false });
    const numbers = (key: string): number[] => {
      const stored = results.get(key);
      return stored === undefined ? [] : numbersOf(stored);
    };
    expectWithin(numbers, made, inputs);
  });
});

describe("the simulator finds nothing, and the numbers are right", () => {
  it.each([
    ["causal", { ...sizes, S: 200, T: 200, H: 1 }],
    ["a mask that is given", { ...sizes, S: 130, T: 40, H: 1 }],
    ["a mask by what stands at rows and columns", { ...sizes, S: 65, T: 129, H: 1 }],
    ["heads that share keys", { ...sizes, H: 2, S: 40, T: 70 }],
    ["with the logarithm of the weights' sum", { ...sizes, S: 70, T: 70 }],
    ["weights by logsumexp", { ...sizes, S: 70, T: 90 }],
    ["relative to the least", { ...sizes, S: 65, T: 129, H: 1, D: 72, Dv: 128 }],
  ])("%s", async (name, dims) => {
    const made = compiled(programs[name] ?? "", dims);
    const inputs = inputsOf(made);
    const device = await openSimulator({ seeds: 2 });
    expectWithin(await ranOn(device, made, inputs), made, inputs);
    await device.close();
  });
});
