/** `weft numerics`: what a function's results may be off by, worst and probably, and what they are off by on data. */
import { resolve } from "node:path";
import type { Argv } from "yargs";
import type { Device } from "../../../runtime/device.ts";
import { exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { openSource } from "../source-host.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { compileArguments, compileOptions, compileProgram, flagOf, textOf, textsOf } from "./command.ts";

const deviceChoices = ["best", "js", "webgpu", "cuda", "simulate"] as const;

export const numericsCommand: Command = {
  name: "numerics <program>",
  summary: "Error bounds of a function's results, and the error measured on data",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .option("device", {
        choices: deviceChoices,
        default: "best",
        describe: "where it runs, which says what adds its sums; best is a GPU, else js",
      })
      .option("input", { type: "string", describe: "safetensors file with tensors by parameter name" })
      .option("random", { type: "string", describe: "SEED: fill the inputs that no file gives" })
      .option("range", {
        type: "string",
        array: true,
        describe: "NAME=LOW:HIGH for random integers, HIGH left out",
      })
      .option("confidence", {
        type: "number",
        default: 0.99,
        describe: "of the probable bounds: that all elements keep them",
      })
      .option("json", { type: "boolean", describe: "the report as JSON" })
      .option("output", { alias: "o", type: "string", describe: "write a picture to this file, as SVG" })
      .example("$0 numerics gemm.dsl:linear --dims M=64,N=64,K=4096 --random 1 --device simulate", "")
      .example("$0 numerics norm.dsl:rmsnorm --dims N=64,D=512 --input x.safetensors -o errors.svg", ""),
  run,
};

async function run(session: Session, args: Arguments): Promise<ExitCode> {
  const confidence = args["confidence"];
  if (typeof confidence !== "number" || !(confidence > 0 && confidence < 1))
    throw usageError("--confidence takes a number between 0 and 1");
  const device = await openNamed(textOf(args, "device") ?? "best");
  try {
    return await runOn(session, args, device, confidence);
  } finally {
    await device.close();
  }
}

async function openNamed(name: string): Promise<Device> {
  if (name === "simulate") {
    const { openSimulator } = await import("../../../runtime/simulate/plan-device.ts");
    return openSimulator();
  }
  const { bestDevice, deviceNames, openDevice } = await import("../../../runtime/index.ts");
  const known = deviceNames.find((one) => one === name);
  return known === undefined ? bestDevice() : openDevice(known);
}

async function runOn(
  session: Session,
  args: Arguments,
  device: Device,
  confidence: number,
): Promise<ExitCode> {
  const { terminal } = session;
  const program = compileArguments(args);
  const target = device.targets[0];
  const { compiled, failed } = await compileProgram(session, args, program, target);
  if (failed) return exitCode.failed;
  const name = textOf(args, "program") ?? "";
  const { gatherInputs, graphInputs, parseRanges, parseSeed } = await import("../run-inputs.ts");
  const inputs = await gatherInputs(graphInputs(name, compiled, program.dims), {
    input: textOf(args, "input"),
    seed: parseSeed(textOf(args, "random")),
    ranges: parseRanges(textsOf(args, "range")),
    cwd: terminal.cwd,
  });
  terminal.progress(`running ${program.file} on ${device.description} and in f64 ..`);
  const { numericsOf } = await import("../numerics.ts");
  const report = await numericsOf({
    program: name,
    api: await session.compiler(),
    request: { ...openSource(program.file, terminal.cwd), ...program, target },
    compiled,
    device,
    inputs: inputs.tensors,
    dims: inputs.dims,
    confidence,
  });
  terminal.progress("");
  const output = textOf(args, "output");
  if (output !== undefined) {
    const { numericsSvg } = await import("../../numerics/index.ts");
    const { writeWhole } = await import("../write-folder.ts");
    await writeWhole(resolve(terminal.cwd, output), numericsSvg(report));
  }
  const { numericsText } = await import("../numerics-report.ts");
  terminal.out(flagOf(args, "json") ? JSON.stringify(report, undefined, 2) : numericsText(report));
  return report.outputs.some(({ measured }) => measured.beyondWorst > 0) ? exitCode.mismatch : exitCode.ok;
}
