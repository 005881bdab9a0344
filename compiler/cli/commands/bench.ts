/** `weft bench`: compiles a function, times it on a device, and says what share of the device's ceilings it reaches. */
import type { Argv } from "yargs";
import type { Device, DeviceTensor, Measurement, MeasureOptions } from "../../../runtime/device.ts";
import type { Dims } from "../../../runtime/plan/size.ts";
import { evaluateCount } from "../../../runtime/plan/size.ts";
import { byteCount } from "../../../runtime/tensor/tensor.ts";
import type { HostTensor } from "../../../runtime/tensor/tensor.ts";
import type { Artifact, Plan } from "../../plan/plan.ts";
import type { BenchInputs, BenchReport } from "../bench-report.ts";
import { CommandError, exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { compileArguments, compileOptions, compileProgram, flagOf, textOf, textsOf } from "./command.ts";

export const benchCommand: Command = {
  name: "bench <program>",
  summary: "Time a function on a device, as a share of what the device can do",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .option("device", {
        choices: ["best", "js", "webgpu", "cuda"],
        default: "best",
        describe: "where; best is a GPU, else js",
      })
      .option("input", { type: "string", describe: "safetensors file with tensors by parameter name" })
      .option("random", {
        type: "string",
        default: "1",
        describe: "SEED: fill the inputs that no file gives, a million elements over and over",
      })
      .option("range", {
        type: "string",
        array: true,
        describe: "NAME=LOW:HIGH for random integers, HIGH left out",
      })
      .option("samples", { type: "number", default: 30, describe: "times that the median is of" })
      .option("cold", { type: "boolean", describe: "flush the device's cache before each run" })
      .option("warm", { type: "boolean", describe: "the same tensors in every run" })
      .conflicts("cold", "warm")
      .option("json", { type: "boolean", describe: "report as JSON" })
      .example("$0 bench norm.dsl:rmsnorm --dims N=16384,D=7168 --device cuda", "")
      .example("$0 bench attention.dsl:attend --dims S=64,T=64,H=2,D=16,A=f32 --device js --json", ""),
  run: bench,
};

/** A sample lasts a millisecond at least: an event's own time is then lost in it. */
const sampleSeconds = 1e-3;
/** Sets of tensors in turn, and how many times the cache's size they are together. */
const maxSets = 64;
const cacheTimes = 4;
/** Elements that are drawn for a tensor. */
const drawn = 2 ** 20;

async function bench(session: Session, args: Arguments): Promise<ExitCode> {
  const samples = args["samples"];
  if (typeof samples !== "number" || !Number.isInteger(samples) || samples < 1)
    throw usageError("--samples takes a whole number from 1");
  const { bestDevice, deviceNames, openDevice } = await import("../../../runtime/index.ts");
  const name = deviceNames.find((one) => one === textOf(args, "device"));
  const device = name === undefined ? await bestDevice() : await openDevice(name);
  try {
    return await benchOn(session, args, device, samples);
  } finally {
    await device.close();
  }
}

async function benchOn(
  session: Session,
  args: Arguments,
  device: Device,
  samples: number,
): Promise<ExitCode> {
  const { terminal } = session;
  const mode = flagOf(args, "cold") ? "cold" : flagOf(args, "warm") ? "warm" : "rotated";
  if (mode === "cold" && device.cacheBytes === undefined)
    throw usageError(`--cold: ${device.description} does not tell the size of its cache`);
  const target = device.targets[0] ?? "";
  const program = compileArguments(args);
  const { compiled, failed } = await compileProgram(session, args, program, target);
  if (failed) return exitCode.failed;
  const { artifact } = compiled;
  if (artifact === undefined)
    throw new CommandError(exitCode.internal, "the compiler made no plan and gave no diagnostic");
  const { gatherInputs, graphInputs, parseRanges, parseSeed } = await import("../run-inputs.ts");
  const inputs = await gatherInputs(graphInputs(textOf(args, "program") ?? "", compiled, program.dims), {
    input: textOf(args, "input"),
    seed: parseSeed(textOf(args, "random")),
    ranges: parseRanges(textsOf(args, "range")),
    cwd: terminal.cwd,
    drawn,
  });
  const { benchText, median, rowsOf } = await import("../bench-report.ts");
  terminal.progress(`timing a copy on ${device.description} ..`);
  const copy = await copyOn(session, device, target, samples);
  terminal.progress(`timing ${program.file} on ${device.description} ..`);
  const cacheBytes = device.cacheBytes ?? null;
  const { measured, ...sets } = await timed(device, artifact, inputs.tensors, inputs.dims, mode, samples);
  terminal.progress("");
  const seconds = median(copy.measured.runs);
  const bytesPerSecond = copy.bytes / Math.max(seconds, 1e-9);
  const report: BenchReport = {
    program: textOf(args, "program") ?? "",
    device: device.description,
    target,
    dims: Object.fromEntries(inputs.dims),
    clock: measured.clock,
    samples,
    inputs: { ...sets, cacheBytes },
    copy: { bytesPerSecond, bytes: copy.bytes, seconds },
    ...rowsOf(artifact.plan, inputs.dims, measured, bytesPerSecond),
  };
  terminal.out(flagOf(args, "json") ? JSON.stringify(report, undefined, 2) : benchText(report));
  return exitCode.ok;
}

/** A compiled kernel that moves eight times what the cache holds. */
async function copyOn(
  session: Session,
  device: Device,
  target: string,
  samples: number,
): Promise<{ readonly measured: Measurement; readonly bytes: number }> {
  const api = await session.compiler();
  const elements = device.cacheBytes === undefined ? 2 ** 22 : device.cacheBytes;
  const dims = new Map([["N", elements]]);
  const { artifact } = api.compile({
    source: { file: "copy.dsl", text: "fn copy(x: f32[N]) -> f32[N] { for n: x[n] }\n" },
    host: { read: () => undefined },
    entry: "copy",
    target,
    dims,
    dtypes: new Map(),
  });
  if (artifact === undefined) throw new CommandError(exitCode.internal, `no copy is compiled for ${target}`);
  const { plan } = artifact;
  const { gatherInputs } = await import("../run-inputs.ts");
  const bound = { ...plan.dims.bound, ...Object.fromEntries(dims) };
  const spec = { program: plan.program, dims: { bound, dynamic: [] }, inputs: plan.inputs };
  const request = { input: undefined, seed: 1, ranges: new Map(), cwd: session.terminal.cwd, drawn };
  const { tensors } = await gatherInputs(spec, request);
  const { measured } = await timed(device, artifact, tensors, dims, "warm", Math.min(samples, 20));
  const bytes = measured.launches.reduce(
    (sum, { kernel }) => sum + evaluateCount(plan.kernels[kernel]?.bytes ?? "0", dims),
    0,
  );
  return { measured, bytes };
}

/** Times a plan on copies of its inputs; states stay on the host, from where they are put back. */
async function timed(
  device: Device,
  artifact: Artifact,
  tensors: ReadonlyMap<string, HostTensor>,
  dims: Dims,
  mode: BenchInputs["mode"],
  samples: number,
): Promise<Omit<BenchInputs, "cacheBytes"> & { readonly measured: Measurement }> {
  const { plan } = artifact;
  const bytes = bytesOf(plan, dims);
  const cache = device.cacheBytes ?? 0;
  const count =
    mode === "rotated"
      ? Math.min(maxSets, Math.max(1, Math.ceil((cacheTimes * cache) / Math.max(bytes, 1))))
      : 1;
  const options: MeasureOptions = {
    samples,
    sampleSeconds,
    flushBytes: mode === "cold" ? 2 * cache : 0,
  };
  const uploaded: DeviceTensor[] = [];
  const loaded = await device.load(artifact);
  try {
    const sets: Map<string, HostTensor | DeviceTensor>[] = [];
    for (let k = 0; k < count; k += 1) {
      const set = new Map<string, HostTensor | DeviceTensor>();
      // The plan takes what its kernels read: an input that nothing reads is the graph's alone.
      for (const { name, role } of plan.inputs) {
        const tensor = tensors.get(name);
        if (tensor === undefined) continue;
        const placed = role === "state" ? tensor : await device.upload(tensor);
        if ("device" in placed) uploaded.push(placed);
        set.set(name, placed);
      }
      sets.push(set);
    }
    const measured = await loaded.measure(sets, options);
    return {
      mode: count === 1 && mode === "rotated" && cache === 0 ? "warm" : mode,
      sets: count,
      bytes,
      measured,
    };
  } finally {
    for (const tensor of uploaded) tensor.free();
    loaded.free();
  }
}

/** Of the plan's inputs and results, each buffer once. */
function bytesOf(plan: Plan, dims: Dims): number {
  const sizes = new Map(
    [...plan.inputs, ...plan.outputs].map(({ buffer, dtype, shape }) => [
      buffer,
      byteCount(dtype, shapeOf(shape, dims)),
    ]),
  );
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function shapeOf(shape: readonly string[], dims: Dims): readonly number[] {
  return shape.map((extent) => evaluateCount(extent, dims));
}
