/** What is run on an H200 once, and compared with the simulator ever after: cases as plain JSON. */
import { accumulationCases } from "./accumulation-cases.ts";
import { instructionCases, threads } from "./instruction-cases.ts";
import type { Sample, SampleArg } from "./harness.ts";
import { allKernels, bf16, header, wgmmaTile } from "./kernels.mjs";

/** How an output is compared: bit for bit (any NaN is a NaN), or within the bound that the manual gives. */
export type Comparison = "bits" | "approximate";

export interface FixtureCase {
  readonly name: string;
  /** Name of the module in `modules`, and the entry in it. */
  readonly module: string;
  readonly entry: string;
  readonly grid: number;
  readonly block: number;
  readonly cluster: number;
  readonly shared: number;
  readonly args: readonly SampleArg[];
  readonly compare: Comparison;
  readonly resultType: string;
}

export interface FixtureSet {
  readonly modules: Readonly<Record<string, string>>;
  readonly cases: readonly FixtureCase[];
}

const approximate = /\.approx|\.full/;

function instructionFixtures(modules: Record<string, string>): FixtureCase[] {
  const cases = instructionCases();
  const bodies = cases.map(
    (c, i) => `.visible ${c.ptx.split(".visible ")[1]!.replace("entry test(", `entry test${i}(`)}`,
  );
  modules["instructions"] = header() + bodies.join("\n");
  return cases.map((c, i) => ({
    name: c.name,
    module: "instructions",
    entry: `test${i}`,
    grid: 1,
    block: threads,
    cluster: 1,
    shared: 0,
    args: [{ in: c.input }, { out: threads * 8 }],
    compare: approximate.test(c.name) ? "approximate" : "bits",
    resultType: c.resultType,
  }));
}

function fromSample(sample: Sample, modules: Record<string, string>, compare: Comparison): FixtureCase {
  modules[sample.name] = sample.ptx;
  const { name, grid, block, cluster = 1, shared = 0, args } = sample;
  return {
    name,
    module: name,
    entry: "test",
    grid,
    block,
    cluster,
    shared,
    args,
    compare,
    resultType: "f32",
  };
}

/** Random operands in place of the whole numbers of a wgmma tile, so that rounding and cancellation show. */
function randomTile(
  options: { readonly type: string; readonly range: number },
  encode: (x: number) => number,
  seed: number,
): Sample {
  const sample = wgmmaTile({ type: options.type, n: 64 }) as Sample;
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 4294967296 - 0.5) * 2;
  };
  const value = (): number => encode(next() * 2 ** Math.floor(next() * options.range));
  const args = sample.args.map((arg) =>
    arg.in === undefined ? arg : { ...arg, in: (arg.in as Uint16Array).map(value) },
  );
  return { ...sample, name: `random-${options.type}-${options.range}`, args };
}

const f16 = (x: number): number => {
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(x) || 1)));
  const mantissa = Math.round((Math.abs(x) / 2 ** exponent - 1) * 1024);
  return (x < 0 ? 0x8000 : 0) | Math.max(0, ((exponent + 15) << 10) + mantissa);
};
const e4m3 = (x: number): number => {
  const exponent = Math.max(-6, Math.floor(Math.log2(Math.abs(x) || 1)));
  const mantissa = Math.round((Math.abs(x) / 2 ** exponent - 1) * 8);
  return (x < 0 ? 128 : 0) | Math.min(0x7e, Math.max(0, ((exponent + 7) << 3) + mantissa));
};

export function fixtureCases(): FixtureSet {
  const modules: Record<string, string> = {};
  const cases = instructionFixtures(modules);
  for (const sample of allKernels() as Sample[]) cases.push(fromSample(sample, modules, "bits"));
  for (const range of [0, 4]) {
    cases.push(fromSample(randomTile({ type: "bf16", range }, bf16, 11 + range), modules, "bits"));
    cases.push(fromSample(randomTile({ type: "f16", range }, f16, 21 + range), modules, "bits"));
    cases.push(fromSample(randomTile({ type: "e4m3", range }, e4m3, 31 + range), modules, "bits"));
  }
  for (const sample of accumulationCases()) cases.push(fromSample(sample, modules, "bits"));
  return { modules, cases };
}

const base64 = (view: ArrayBufferView): string =>
  Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("base64");

/** The set as JSON, bytes in base64, for `run-on-gpu.py`. */
export function encodeFixtures(set: FixtureSet): string {
  const cases = set.cases.map((c) => ({
    ...c,
    args: c.args.map((arg) => (arg.in === undefined ? arg : { ...arg, in: base64(arg.in) })),
  }));
  return JSON.stringify({ modules: set.modules, cases });
}
