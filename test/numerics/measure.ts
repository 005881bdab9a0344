/** Compiles a program, runs it on js or on the PTX simulator, and gives its numerics report. */
import { compile } from "../../compiler/index.ts";
import { numericsOf } from "../../compiler/cli/numerics.ts";
import type { NumericsReport, OutputReport } from "../../compiler/numerics/index.ts";
import { fromNumbers, openDevice, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";

export interface Case {
  readonly text: string;
  readonly entry: string;
  readonly device: "js" | "simulate";
  /** Those that the kernels know; the inputs tell the others. */
  readonly dims: Readonly<Record<string, number>>;
  readonly open?: Readonly<Record<string, number>>;
  readonly inputs: ReadonlyMap<string, HostTensor>;
}

export async function reportOn(asked: Case): Promise<NumericsReport> {
  const device = asked.device === "js" ? await openDevice("js") : await openSimulator();
  try {
    const dims = new Map(Object.entries(asked.dims));
    const request = {
      source: { file: "numerics.dsl", text: asked.text },
      host: testHost(),
      entry: asked.entry,
      target: device.targets[0],
      dims,
      dtypes: new Map(),
    };
    const compiled = compile(request);
    if (compiled.artifact === undefined) throw new Error(JSON.stringify(compiled.diagnostics));
    return await numericsOf({
      program: `numerics.dsl:${asked.entry}`,
      // Other batches are looked at where a test asks for them.
      api: { compile: () => ({ ...compiled, artifact: undefined }) },
      request,
      compiled,
      device,
      inputs: asked.inputs,
      dims: new Map([...dims, ...Object.entries(asked.open ?? {})]),
      confidence: 0.99,
    });
  } finally {
    await device.close();
  }
}

export async function outputOn(asked: Case): Promise<OutputReport> {
  const [output] = (await reportOn(asked)).outputs;
  if (output === undefined) throw new Error("it has a result");
  return output;
}

/** Uniform numbers from 0 up to 1. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers (Box and Muller). */
export function normal(seed: number): () => number {
  const next = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

export function filled(
  dtype: HostTensor["dtype"],
  shape: readonly number[],
  value: (i: number) => number,
): HostTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return fromNumbers(
    dtype,
    shape,
    Array.from({ length: count }, (_, i) => value(i)),
  );
}
