/** Runs one loop by the tensor interpreter and by the tile interpreter under a target's schedule, on the same inputs. */
import { decode, encode, rounderTo } from "../../compiler/tensor/number-formats.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { interpretTiles, type Element } from "../../compiler/tile/interpret.ts";
import { asContraction } from "../../compiler/tile/schedule/matrices.ts";
import { candidatesOf, type Fixed } from "../../compiler/tile/schedule/choice.ts";
import type { KernelSource } from "../../compiler/tile/schedule/source.ts";
import { streamedSchedule } from "../../compiler/tile/schedule/streamed-choice.ts";
import { schedule } from "../../compiler/tile/schedule/choose.ts";
import { verify } from "../../compiler/tile/verify.ts";
import type { GlobalBuffer, TileProgram } from "../../compiler/tile/ir.ts";
import type { Caps } from "../../compiler/types/caps.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import type { Sample } from "./random-loops.ts";

export interface Case {
  readonly program: TileProgram;
  /** Stored inputs and shapes by buffer, in the program's order. */
  readonly inputs: readonly StoredTensor[];
  /** What the tensor interpreter gives for each output, and how far a target may be from it. */
  readonly expected: readonly { readonly values: ArrayLike<number>; readonly bound: Float64Array }[];
}

/** The same numbers for the same seed: small, of both signs, exactly representable where `grid` is asked for. */
export function randomStored(
  dtype: StoredTensor["dtype"],
  shape: readonly number[],
  seed: number,
): StoredTensor {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const round = dtypes[dtype].kind === "float" ? rounderTo(dtype) : Math.trunc;
  const values = Float64Array.from({ length: shape.reduce((p, s) => p * s, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return round((state / 2 ** 32) * 4 - 2);
  });
  return { dtype, shape, bytes: encode(dtype, values) };
}

/** As the compiler schedules the node, or another way. */
export function makeCase(
  sample: Sample,
  caps: Caps,
  seed: number,
  scheduled: (source: KernelSource, caps: Caps) => TileProgram = schedule,
): Case {
  const { arena, node, dims } = sample;
  const inputNodes = node.inputs.map((ref) => ref.node).filter((input) => input.kind === "input");
  const inputs = node.inputs.map((ref, k) => {
    const type = ref.node.types[ref.output];
    if (type === undefined) throw new Error("an input has a type");
    return randomStored(
      type.dtype,
      type.shape.map((extent) => evaluate(extent, dims)),
      seed + k,
    );
  });
  const graph = arena.graph({
    name: "sample",
    inputs: inputNodes,
    updates: [],
    dims: [...dims.keys()],
    checks: [],
    results: node.types.map((_, k) => ({ name: `y${k}`, value: arena.ref(node, k) })),
  });
  const named = new Map(
    inputNodes.map((input, k): [string, StoredTensor] => {
      const stored = inputs[k];
      if (stored === undefined) throw new Error("one tensor for each input");
      return [input.name, stored];
    }),
  );
  const { results, bounds } = interpret(arena, graph, named, dims, { bounds: "clamp", errors: true });
  const expected = node.types.map((_, k) => {
    const [stored, bound] = [results.get(`y${k}`), bounds.get(`y${k}`)];
    if (stored === undefined || bound === undefined) throw new Error("each result is computed");
    return { values: numbers(stored), bound };
  });
  const program = scheduled(
    {
      arena,
      node,
      name: "sample",
      summary: "a random loop",
      inputNames: inputNodes.map((input) => input.name),
      outputNames: node.types.map((_, k) => `y${k}`),
      place: undefined,
    },
    caps,
  );
  return { program, inputs, expected };
}

export function numbers(stored: StoredTensor): number[] {
  return Array.from(decode(stored.dtype, stored.bytes), Number);
}

/** The first element that is further from the oracle than its bound, in words; undefined where all are within. */
export function disagreement(
  expected: Case["expected"],
  actual: readonly ArrayLike<number>[],
): string | undefined {
  for (const [k, { values, bound }] of expected.entries()) {
    for (let i = 0; i < values.length; i += 1) {
      const [want, have, within] = [values[i] ?? Number.NaN, actual[k]?.[i] ?? Number.NaN, bound[i] ?? 0];
      if (Object.is(want, have) || Math.abs(want - have) <= within) continue;
      return `y${k}[${i}]: ${have} is further than ${within} from ${want}`;
    }
  }
  return undefined;
}

/** Runs the case's program in the tile interpreter. */
export function runTiles(one: Case, dims: ReadonlyMap<string, number>): number[][] {
  const problems = verify(one.program);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const memory = new Map<GlobalBuffer, Element[]>();
  one.program.buffers.forEach((buffer, k) => {
    const stored = one.inputs[k];
    const size = buffer.shape.reduce((p, extent) => p * evaluate(extent, dims), 1);
    memory.set(buffer, stored === undefined ? new Array<Element>(size).fill(Number.NaN) : numbers(stored));
  });
  interpretTiles(one.program, memory, dims);
  return one.program.buffers.slice(one.inputs.length).map((buffer) => (memory.get(buffer) ?? []).map(Number));
}

/** A streamed product with numbers of its choice fixed; the compiler's own schedule where they cannot be had. */
export function streamedWith(fixed: Omit<Fixed, "tile">): (source: KernelSource, caps: Caps) => TileProgram {
  return (source, caps) => {
    const { node } = source;
    const contraction = node.kind === "loop" ? asContraction(node) : undefined;
    const streamed =
      node.kind === "loop" && contraction !== undefined
        ? streamedSchedule({ ...source, node }, contraction, caps)
        : undefined;
    const [best] = streamed === undefined ? [] : candidatesOf(streamed, { tile: [], ...fixed });
    return best === undefined ? schedule(source, caps) : best.schedule.program(best.choice);
  };
}
