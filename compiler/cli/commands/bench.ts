/** `weft bench`: compiles a function, times it on a device, and says what share of the device's ceilings it reaches. */
import type { Argv } from "yargs";
import type { Device, Measurement } from "../../../runtime/device.ts";
import { evaluateCount } from "../../../runtime/plan/size.ts";
import type { BenchReport } from "../bench-report.ts";
import { CommandError, exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { drawn, timed } from "../timing.ts";
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
