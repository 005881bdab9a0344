/** `weft run`: compiles a function, runs it on a device, and compares it with the reference where asked to. */
import { resolve } from "node:path";
import type { Argv } from "yargs";
import type { Device, RunResult } from "../../../runtime/device.ts";
import type { HostTensor } from "../../../runtime/tensor/tensor.ts";
import type { Compiled } from "../api.ts";
import { CommandError, exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import type { RunInputs } from "../run-inputs.ts";
import type { RunReport } from "../run-report.ts";
import type { Arguments, Command, CompileArguments, Session } from "./command.ts";
import { compileArguments, compileOptions, compileProgram, flagOf, textOf, textsOf } from "./command.ts";

const deviceChoices = ["best", "reference", "js", "webgpu", "cuda", "simulate"] as const;

export const runCommand: Command = {
  name: "run <program>",
  summary: "Compile a function and run it on a device",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .option("device", {
        choices: deviceChoices,
        default: "best",
        describe: "where; best is a GPU, else js",
      })
      .option("input", { type: "string", describe: "safetensors file with tensors by parameter name" })
      .option("random", { type: "string", describe: "SEED: fill the inputs that no file gives" })
      .option("range", {
        type: "string",
        array: true,
        describe: "NAME=LOW:HIGH for random integers, HIGH left out",
      })
      .option("output", { type: "string", describe: "safetensors file to write the results to" })
      .option("compare", {
        choices: ["reference"],
        describe: "hold every element to its bound; exit code 4 when one is beyond",
      })
      .option("bounds", {
        type: "boolean",
        describe: "bounds mode: the reference stops at an index outside its axis",
      })
      .option("seeds", {
        type: "number",
        describe: "simulate: run each kernel under this many orders of its warps",
      })
      .option("seed", { type: "number", describe: "simulate: the order of this seed alone" })
      .option("report", {
        type: "string",
        describe: "simulate: file for counts and findings of each launch, as JSON",
      })
      .option("time", { type: "boolean", describe: "time each kernel, after one run to warm up" })
      .option("json", { type: "boolean", describe: "report as JSON" })
      .example("$0 run attention.dsl:attend --dims B=1,S=64,T=64,Hkv=2,G=4,D=64,Dv=64,A=f16 --random 1", "")
      .example("$0 run lm.dsl:Lm.step --input weights.safetensors --output out.safetensors", "")
      .example(
        "$0 run attention.dsl:attend --random 1 --dims .. --device simulate --seeds 8 --report out.json",
        "",
      )
      .example("$0 run softmax.dsl:softmax --dims X=1000 --random 7 --device webgpu --compare reference", ""),
  run,
};

interface Results {
  readonly device: string;
  readonly outputs: ReadonlyMap<string, HostTensor>;
  readonly timings: RunResult["timings"];
  /** Where the reference ran: how far a device may be from each element. */
  readonly bounds: ReadonlyMap<string, Float64Array>;
}

async function run(session: Session, args: Arguments): Promise<ExitCode> {
  const name = textOf(args, "device") ?? "best";
  const isCompared = textOf(args, "compare") !== undefined;
  if (isCompared && name === "reference")
    throw usageError("--compare reference compares another device with the reference");
  if (name === "simulate") return await runSimulated(session, args, isCompared);
  const device = name === "reference" ? undefined : await openNamed(name);
  try {
    return await runOn(session, args, device, isCompared);
  } finally {
    await device?.close();
  }
}

/** The report is written whatever the simulator finds: it is what the findings are read in. */
async function runSimulated(session: Session, args: Arguments, isCompared: boolean): Promise<ExitCode> {
  const { openSimulator } = await import("../../../runtime/simulate/plan-device.ts");
  const launches: object[] = [];
  const device = await openSimulator({
    simulate: { seed: numberOf(args, "seed") ?? 0 },
    seeds: numberOf(args, "seeds") ?? 1,
    onLaunch: (kernel, report, reproducers) =>
      void launches.push({
        kernel: kernel.name,
        bytes: kernel.bytes,
        flops: kernel.flops,
        roofline: kernel.roofline,
        ...report,
        reproducers,
      }),
  });
  try {
    return await runOn(session, args, device, isCompared);
  } finally {
    await device.close();
    const file = textOf(args, "report");
    if (file !== undefined) {
      const { writeWhole } = await import("../write-folder.ts");
      await writeWhole(
        resolve(session.terminal.cwd, file),
        `${JSON.stringify({ launches }, undefined, 2)}\n`,
      );
    }
  }
}

function numberOf(args: Arguments, name: string): number | undefined {
  const value = args[name];
  return typeof value === "number" ? value : undefined;
}

async function openNamed(name: string): Promise<Device> {
  const { bestDevice, deviceNames, openDevice } = await import("../../../runtime/index.ts");
  const known = deviceNames.find((one) => one === name);
  return known === undefined ? bestDevice() : openDevice(known);
}

async function runOn(
  session: Session,
  args: Arguments,
  device: Device | undefined,
  isCompared: boolean,
): Promise<ExitCode> {
  const { terminal } = session;
  const input = textOf(args, "input");
  const shapes = input === undefined ? undefined : await shapesIn(resolve(terminal.cwd, input));
  const program = { ...compileArguments(args), ...(shapes === undefined ? {} : { shapes }) };
  const { compiled, failed } = await compileProgram(session, args, program, device?.targets[0]);
  if (failed) return exitCode.failed;
  const inputs = await inputsOf(session, args, program, compiled);
  const actual =
    device === undefined
      ? await runReference(session, args, compiled, inputs, false)
      : await runDevice(session, args, device, compiled, inputs);
  const expected = isCompared ? await runReference(session, args, compiled, inputs, true) : undefined;
  const output = textOf(args, "output");
  if (output !== undefined) {
    const { writeSafetensorsFile } = await import("../../../runtime/safetensors/file.ts");
    const { writeError } = await import("../write-folder.ts");
    const path = resolve(terminal.cwd, output);
    await writeSafetensorsFile(path, actual.outputs).catch((error: unknown) => {
      throw writeError(path, error);
    });
  }
  const report = await reportOf(textOf(args, "program") ?? "", inputs, actual, expected);
  const { reportText } = await import("../run-report.ts");
  terminal.out(flagOf(args, "json") ? JSON.stringify(report, undefined, 2) : reportText(report));
  return report.comparison?.some(({ violations }) => violations > 0) === true
    ? exitCode.mismatch
    : exitCode.ok;
}

/** Shapes of a file's tensors, by name. */
async function shapesIn(path: string): Promise<ReadonlyMap<string, readonly number[]>> {
  const { openInput } = await import("../run-inputs.ts");
  const file = await openInput(path);
  try {
    return new Map([...file.tensors].map(([name, { shape }]) => [name, shape]));
  } finally {
    await file.close();
  }
}

async function inputsOf(
  session: Session,
  args: Arguments,
  program: CompileArguments,
  compiled: Compiled,
): Promise<RunInputs> {
  const { gatherInputs, graphInputs, parseRanges, parseSeed } = await import("../run-inputs.ts");
  const spec = graphInputs(textOf(args, "program") ?? "", compiled, program.dims);
  return gatherInputs(spec, {
    input: textOf(args, "input"),
    seed: parseSeed(textOf(args, "random")),
    ranges: parseRanges(textsOf(args, "range")),
    cwd: session.terminal.cwd,
  });
}

async function runDevice(
  session: Session,
  args: Arguments,
  device: Device,
  compiled: Compiled,
  inputs: RunInputs,
): Promise<Results> {
  const { artifact } = compiled;
  if (artifact === undefined)
    throw new CommandError(exitCode.internal, "the compiler made no plan and gave no diagnostic");
  session.terminal.progress(`running on ${device.description} ..`);
  // The plan takes what its kernels read: an input that nothing reads is the graph's alone.
  const names = new Set(artifact.plan.inputs.map((input) => input.name));
  const given = new Map([...inputs.tensors].filter(([name]) => names.has(name)));
  const loaded = await device.load(artifact);
  const isTimed = flagOf(args, "time");
  if (isTimed) await loaded.run(given, { keep: false, time: false });
  const result = await loaded.run(given, { keep: false, time: isTimed });
  loaded.free();
  session.terminal.progress("");
  const outputs = new Map<string, HostTensor>();
  for (const [name, tensor] of result.outputs)
    outputs.set(name, "device" in tensor ? await tensor.read() : tensor);
  return { device: device.description, outputs, timings: result.timings, bounds: new Map() };
}

async function runReference(
  session: Session,
  args: Arguments,
  compiled: Compiled,
  inputs: RunInputs,
  withBounds: boolean,
): Promise<Results> {
  if (compiled.graph === undefined)
    throw new CommandError(exitCode.internal, "the compiler made no graph and gave no diagnostic");
  session.terminal.progress("running the reference ..");
  const { interpret } = await import("../../tensor/interpret.ts");
  const { arena, graph } = compiled.graph;
  const bounds = flagOf(args, "bounds") ? "error" : "clamp";
  const found = interpret(arena, graph, inputs.tensors, inputs.dims, { bounds, errors: withBounds });
  session.terminal.progress("");
  return {
    device: "reference",
    outputs: new Map([...found.results, ...found.updates]),
    timings: [],
    bounds: found.bounds,
  };
}

async function reportOf(
  program: string,
  inputs: RunInputs,
  actual: Results,
  expected: Results | undefined,
): Promise<RunReport> {
  const { compareOutput, summaryOf } = await import("../run-report.ts");
  const comparison =
    expected === undefined
      ? undefined
      : [...expected.outputs].map(([name, tensor]) => {
          const result = actual.outputs.get(name);
          if (result === undefined)
            throw new CommandError(exitCode.internal, `the device gave no result '${name}'`);
          return compareOutput(name, result, tensor, expected.bounds.get(name));
        });
  return {
    program,
    device: actual.device,
    dims: Object.fromEntries(inputs.dims),
    outputs: [...actual.outputs].map(([name, tensor]) => summaryOf(name, tensor)),
    timings: actual.timings,
    comparison,
  };
}
