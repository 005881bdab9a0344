/** Compiles a program for PTX and holds what its kernels compute to what the program means. */
import { expect } from "vitest";
import { compile, type Compiled } from "../../compiler/compile.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { decode, encode, rounderTo } from "../../compiler/tensor/number-formats.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { interpretTiles, type Element } from "../../compiler/tile/interpret.ts";
import type { GlobalBuffer } from "../../compiler/tile/ir.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { print } from "../../compiler/tile/print.ts";
import { checkProtocol } from "../../compiler/tile/protocol.ts";
import { verify } from "../../compiler/tile/verify.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { fromNumbers, toNumbers, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

export type Sizes = Readonly<Record<string, number>>;

/** The last function of the text. */
export function compiled(text: string, dims: Sizes): Compiled {
  const made = compile({
    source: { file: "f.dsl", text },
    host: testHost(),
    entry: undefined,
    target: "ptx:sm_90a",
    dims: new Map(Object.entries(dims)),
    dtypes: new Map(),
  });
  expect(made.diagnostics.map(({ code, message }) => `${code} ${message}`)).toEqual([]);
  return made;
}

/** The tile programs of a compiled program, in the order of its launches. */
export function tilesOf(made: Compiled): readonly string[] {
  return made.trace.filter(({ pass }) => pass === "tile").map((step) => step.text());
}

/** Values of both signs from a small generator; some of them stand twice. */
export function inputsOf(made: Compiled): Map<string, StoredTensor> {
  let state = 99;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return new Map(
    (made.graph?.graph.inputs ?? []).map((input) => {
      const type = input.types[0];
      if (type === undefined) throw new Error("an input has a type");
      const shape = type.shape.map((extent) => evaluate(extent, new Map()));
      const count = shape.reduce((a, b) => a * b, 1);
      const value = (): number =>
        type.dtype === "bool"
          ? Math.round(next())
          : type.dtype === "i32"
            ? Math.floor(20 * next()) - 2
            : rounderTo(type.dtype)(Math.round(64 * (4 * next() - 2)) / 64);
      const bytes = encode(type.dtype, Float64Array.from({ length: count }, value));
      return [input.name, { dtype: type.dtype, shape, bytes }];
    }),
  );
}

function numbersOf(stored: StoredTensor): number[] {
  return Array.from(decode(stored.dtype, stored.bytes), Number);
}

/** `actual` gives the numbers of each result; each is within the interpreter's bound. */
export function expectWithin(
  actual: (name: string) => ArrayLike<number>,
  made: Compiled,
  inputs: Map<string, StoredTensor>,
): void {
  if (made.graph === undefined) throw new Error("no graph");
  const { arena, graph } = made.graph;
  const { results, bounds } = interpret(arena, graph, inputs, new Map(), { bounds: "clamp", errors: true });
  expect(results.size).toBeGreaterThan(0);
  for (const [name, out] of results) {
    const bound = bounds.get(name);
    const found = actual(name);
    const wrong = numbersOf(out).flatMap((want, i) => {
      const have = found[i] ?? Number.NaN;
      const isRight = Object.is(want, have) || Math.abs(want - have) <= (bound?.[i] ?? 0);
      return isRight ? [] : [{ name, i, want, have }];
    });
    expect(wrong.slice(0, 3)).toEqual([]);
  }
}

/** Runs the only kernel's tile program in the interpreter, which must read back what it prints; or another `text` of it. */
export function expectTiles(
  made: Compiled,
  inputs: Map<string, StoredTensor>,
  text = tilesOf(made)[0] ?? "",
): void {
  expect(tilesOf(made)).toHaveLength(1);
  const program = parse(text);
  expect(verify(program)).toEqual([]);
  expect(checkProtocol(program)).toBeUndefined();
  expect(print(program)).toBe(text);
  // A scale's name has a dot, which the text has not.
  const named = new Map([...inputs].map(([name, stored]) => [name.replace(".", "_"), stored]));
  const memory = new Map<GlobalBuffer, Element[]>(
    program.buffers.map((buffer) => {
      const count = buffer.shape.reduce((a, extent) => a * evaluate(extent, new Map()), 1);
      const stored = named.get(buffer.name);
      return [buffer, stored === undefined ? new Array<Element>(count).fill(Number.NaN) : numbersOf(stored)];
    }),
  );
  interpretTiles(program, memory, new Map());
  const written = program.buffers.filter((buffer) => buffer.access === "write");
  const numbers = (name: string): number[] => {
    const buffer = written.find((one) => one.name === name.replace(".", "_"));
    return (buffer === undefined ? [] : (memory.get(buffer) ?? [])).map(Number);
  };
  expectWithin(numbers, made, inputs);
}

/** Runs the program in the simulator, which finds nothing. */
export async function expectSimulated(made: Compiled, inputs: Map<string, StoredTensor>): Promise<void> {
  if (made.artifact === undefined) throw new Error("no plan");
  const device = await openSimulator({ seeds: 2 });
  const loaded = await device.load(made.artifact);
  const { outputs } = await loaded.run(
    new Map(
      [...inputs].map(([key, stored]) => [key, fromNumbers(stored.dtype, stored.shape, numbersOf(stored))]),
    ),
    { keep: false, time: false },
  );
  expectWithin((key) => toNumbers(outputs.get(key) as HostTensor).map(Number), made, inputs);
  await device.close();
}
