/** `weft pipeline`: proves a pipeline schedule, simulates it, draws it, and sets it beside those of the library. */
import { readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Argv } from "yargs";
import type {
  CompiledPipeline,
  Costs,
  Formula,
  Pipeline,
  Proof,
  Schedule,
  SimulationOptions,
  Study,
} from "../../pipeline/index.ts";
import { parseProgram } from "../arguments.ts";
import { CommandError, exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { checkAmount, checkStages, simulationOptions, wholeOf } from "../pipeline-arguments.ts";
import { libraryFolder, openSource } from "../source-host.ts";
import { table } from "../table.ts";
import { writeWhole } from "../write-folder.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf, formatOf, showDiagnostics, textOf } from "./command.ts";

export const pipelineCommand: Command = {
  name: "pipeline [program]",
  summary: "Prove, simulate and draw a pipeline-parallel schedule",
  options: (argv: Argv): Argv =>
    argv
      .positional("program", {
        type: "string",
        describe: "FILE.dsl:Name; without a name, the file's last pipeline",
      })
      .option("ranks", { type: "string", describe: "number of ranks, P" })
      .option("micro", { type: "string", describe: "number of micro-batches, M" })
      .option("cost", {
        type: "string",
        array: true,
        describe: "of a chunk: F=1,B=2,W=1,FB=3; B is the whole backward",
      })
      .option("buffers", { type: "string", describe: "messages that a queue between two ranks holds; M" })
      .option("stage-cost", {
        type: "string",
        array: true,
        describe: "uneven stages: 0=1.5,7=2 times the cost",
      })
      .option("latency", { type: "string", describe: "of a message between ranks" })
      .option("bandwidth", { type: "string", describe: "bytes in a unit of time" })
      .option("bytes", { type: "string", describe: "of a message; 1" })
      .option("jitter", { type: "string", describe: "actions take up to this part longer: 0.1" })
      .option("seed", { type: "string", describe: "of the jitter; 0" })
      .option("pieces", {
        type: "string",
        describe: "cut layers into pieces: 'published', or attention(F)=4.3,.. over it",
      })
      .option("layers", { type: "string", describe: "of a stage, with --pieces; 4" })
      .option("sm-share", {
        type: "string",
        describe: "part of the SMs that communicate, with --pieces; 0.1515",
      })
      .option("svg", { type: "string", describe: "write a Gantt chart to this file" })
      .option("trace", { type: "string", describe: "write a Chrome or Perfetto trace to this file" })
      .option("json", { type: "boolean", describe: "actions, proof, bubble and memory as JSON" })
      .option("compare", {
        type: "boolean",
        describe: "the library's schedules, under one another at one scale",
      })
      .option("format", { choices: ["text", "json", "sarif"], default: "text", describe: "of diagnostics" })
      .example("$0 pipeline dualpipe.dsl:DualPipe --ranks 8 --micro 20 --svg dualpipe.svg", "")
      .example("$0 pipeline --compare --ranks 8 --micro 24 --svg all.svg", ""),
  run,
};

/** The library's schedules, and stages of each for one rank of 1F1B. */
export const library: readonly string[] = ["gpipe", "1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"];

async function run(session: Session, args: Arguments): Promise<ExitCode> {
  const sizes = { ranks: wholeOf(args, "ranks"), micro: wholeOf(args, "micro") };
  const { ranks, micro } = sizes;
  if (ranks === undefined || micro === undefined)
    throw usageError("--ranks and --micro give the schedule's sizes");
  for (const option of ["svg", "trace"]) checkOutput(session, args, option);
  const program = textOf(args, "program");
  if (flagOf(args, "compare")) {
    if (program !== undefined)
      throw usageError("--compare compares the library's schedules, and takes no program");
    if (textOf(args, "trace") !== undefined) throw usageError("--trace is of one schedule, not of --compare");
    return compare(session, args, { ranks, micro });
  }
  if (program === undefined) throw usageError("weft pipeline needs FILE.dsl:Name, or --compare");
  return one(session, args, program, { ranks, micro });
}

interface Sizes {
  readonly ranks: number;
  readonly micro: number;
}

async function one(session: Session, args: Arguments, program: string, sizes: Sizes): Promise<ExitCode> {
  const { terminal } = session;
  const { file, entry } = parseProgram(program);
  const pipelines = await import("../../pipeline/index.ts");
  const options = simulationOptions(args, pipelines.publishedPieces, pipelines.pieceNames);
  const compiled = pipelines.compilePipeline({ ...openSource(file, terminal.cwd), name: entry, ...sizes });
  const { pipeline } = compiled;
  if (pipeline === undefined) {
    showDiagnostics(session, await session.compiler(), compiled, formatOf(args));
    return exitCode.failed;
  }
  checkStages(pipeline.schedule, options);
  checkAmount(args, pipeline.schedule, options);
  const proof = pipelines.prove(
    pipeline.schedule,
    options.buffers === undefined ? {} : { buffers: options.buffers },
  );
  if (proof.verdict === "refused") return refused(session, args, { compiled, pipeline, proof });
  const study = pipelines.studyOf(pipeline, proof, options);
  await write(session, args, "trace", () => pipelines.chromeTrace(study.simulation));
  await write(session, args, "svg", () =>
    pipelines.ganttSvg([{ simulation: study.simulation, options: { title: titleOf(pipeline) } }]),
  );
  if (flagOf(args, "json")) {
    terminal.out(JSON.stringify(pipelines.toPlain(pipeline, proof, study)));
    return exitCode.ok;
  }
  const { memory } = proof;
  terminal.out(
    [
      `${pipelines.describeGenerality(study.generality, pipeline.name)}.`,
      `Every micro-batch passes each stage forward and backward once, in order; no deadlock with queues of ${proof.buffers}, of which ${memory.queue} ${memory.queue === 1 ? "is" : "are"} used at most.`,
      `F and B of a micro-batch read ${pipelines.oneVersion}.`,
      "",
      ...summary(pipelines.printFormula, study),
      "",
      ...table(
        ["rank", "busy", "idle", "peak activations", "buffers"],
        memory.activations.map((peak, rank) => [
          String(rank),
          show(study.simulation.busy[rank] ?? 0),
          show(study.simulation.idle[rank] ?? 0),
          String(peak),
          String(memory.buffers[rank] ?? 0),
        ]),
      ),
      "",
      ...(await beside(args, sizes)),
    ].join("\n"),
  );
  return exitCode.ok;
}

/** Above this many ranks times micro-batches, six more schedules take longer than one is worth waiting for. */
const mostCompared = 2 ** 20;

async function beside(args: Arguments, sizes: Sizes): Promise<readonly string[]> {
  if (sizes.ranks * sizes.micro > mostCompared)
    return ["The library's schedules are left out at this size; --compare has them."];
  const { lines } = await libraryTable(args, sizes, () => undefined);
  return [
    `The library's schedules with ${sizes.ranks} ranks and ${sizes.micro} micro-batches, the model cut into as many stages as each has:`,
    ...lines,
  ];
}

function summary(print: (formula: Formula) => string, { simulation, bubble }: Study): readonly string[] {
  const formula = print(bubble.formula);
  const { longestIdle, makespan } = simulation;
  const share = makespan === 0 ? 0 : (100 * longestIdle) / makespan;
  const difference =
    Math.abs(longestIdle - bubble.time) <= 1e-9 * Math.max(1, makespan)
      ? ""
      : `, which is ${show(bubble.time)} for even stages without communication`;
  const lines = [
    `  bubble ${formula}${difference}; longest idle ${show(longestIdle)} of ${show(makespan)} (${share.toFixed(1)}%)`,
  ];
  const usual = print(bubble.usual);
  if (usual !== formula)
    lines.push(
      `  with B = F + W and W < F it is ${usual}; that would be ${show(bubble.usualTime)} here, and is ${show(bubble.time)}`,
    );
  return lines;
}

interface RefusedProof {
  readonly compiled: CompiledPipeline;
  readonly pipeline: Pipeline;
  readonly proof: Extract<Proof, { verdict: "refused" }>;
}

/** The reason, and the schedule up to where it stops, as text and, where asked for, drawn. */
async function refused(
  session: Session,
  args: Arguments,
  { compiled, pipeline, proof }: RefusedProof,
): Promise<ExitCode> {
  const { terminal } = session;
  const { stoppedPicture, stoppedSvg, toPlain } = await import("../../pipeline/index.ts");
  const format = formatOf(args);
  showDiagnostics(
    session,
    await session.compiler(),
    { ...compiled, diagnostics: [proof.diagnostic] },
    format,
  );
  await write(session, args, "svg", () =>
    stoppedSvg(pipeline.schedule, proof.reached, `${titleOf(pipeline)}, up to where it stops`),
  );
  if (flagOf(args, "json")) terminal.out(JSON.stringify(toPlain(pipeline, proof, undefined)));
  else if (format === "text") terminal.note(stoppedPicture(pipeline.schedule, proof.reached));
  return exitCode.failed;
}

async function compare(session: Session, args: Arguments, sizes: Sizes): Promise<ExitCode> {
  const { ganttSvg } = await import("../../pipeline/index.ts");
  const { lines, rows } = await libraryTable(args, sizes, (schedule, options) =>
    checkAmount(args, schedule, options),
  );
  if (rows.length === 0) {
    session.terminal.note(lines.join("\n"));
    return exitCode.failed;
  }
  const drawn = rows.map(({ pipeline, study }) => ({
    simulation: study.simulation,
    options: { title: titleOf(pipeline) },
  }));
  await write(session, args, "svg", () => ganttSvg(drawn));
  if (flagOf(args, "json")) {
    const { printFormula } = await import("../../pipeline/index.ts");
    session.terminal.out(
      JSON.stringify(
        rows.map(({ pipeline, study, proof }) => ({
          name: pipeline.name,
          bubble: printFormula(study.bubble.formula),
          longestIdle: study.simulation.longestIdle,
          makespan: study.simulation.makespan,
          memory: proof.memory,
        })),
      ),
    );
  } else session.terminal.out(lines.join("\n"));
  return exitCode.ok;
}

interface Row {
  readonly pipeline: Pipeline;
  readonly proof: Extract<Proof, { verdict: "proved" }>;
  readonly study: Study;
}

/** One row a schedule. One with twice as many stages has chunks of half the cost, so that all do the same model. */
async function libraryTable(
  args: Arguments,
  { ranks, micro }: Sizes,
  admit: (schedule: Schedule, options: SimulationOptions) => void,
): Promise<{ readonly lines: readonly string[]; readonly rows: readonly Row[] }> {
  const { compilePipeline, printFormula, prove, publishedPieces, pieceNames, studyOf } =
    await import("../../pipeline/index.ts");
  const options = simulationOptions(args, publishedPieces, pieceNames);
  const rows: Row[] = [];
  const cells: string[][] = [];
  for (const name of library) {
    const file = `stdlib/pipeline/${name}.dsl`;
    const text = readFileSync(join(libraryFolder(), "pipeline", `${name}.dsl`), "utf8");
    const { pipeline, diagnostics } = compilePipeline({
      source: { file, text },
      host: { read: () => undefined },
      name: undefined,
      ranks,
      micro,
    });
    if (pipeline !== undefined) admit(pipeline.schedule, options);
    const proof = pipeline === undefined ? undefined : prove(pipeline.schedule);
    if (pipeline === undefined || proof?.verdict !== "proved") {
      cells.push([name, "-", "-", "-", "-", diagnostics[0]?.message ?? "not proved"]);
      continue;
    }
    const part = ranks / proof.memory.stages;
    const { buffers: _buffers, stageCosts: _stages, ...shared } = options;
    const study = studyOf(pipeline, proof, { ...shared, costs: scaled(options.costs, part) });
    rows.push({ pipeline, proof, study });
    const { simulation, bubble } = study;
    cells.push([
      pipeline.name,
      `${part === 1 ? "" : `${show(part)} * `}${wrapped(printFormula(bubble.formula), part)}`,
      show(simulation.longestIdle),
      `${((100 * simulation.longestIdle) / simulation.makespan).toFixed(1)}%`,
      `${Math.max(...proof.memory.activations)} chunks of 1/${proof.memory.stages}`,
      `${proof.memory.stagesHeld} of ${proof.memory.stages} stages`,
    ]);
  }
  return {
    lines: table(
      ["schedule", "bubble", "longest idle", "of the time", "peak activations", "parameters held"],
      cells,
    ),
    rows,
  };
}

function wrapped(formula: string, part: number): string {
  return part !== 1 && / /.test(formula) && !/^\d+\(/.test(formula) ? `(${formula})` : formula;
}

function scaled(costs: Partial<Costs> | undefined, part: number): Partial<Costs> {
  const { F = 1, B = 2, W = 1, FB = F + B } = costs ?? {};
  return { F: F * part, B: B * part, W: W * part, FB: FB * part };
}

function titleOf({ name, schedule }: Pipeline): string {
  return `${name}: ${schedule.ranks} ranks, ${schedule.micro} micro-batches`;
}

/** An output that cannot be written is told before the work is done, and before another output is written. */
function checkOutput({ terminal }: Session, args: Arguments, option: string): void {
  const path = textOf(args, option);
  if (path === undefined) return;
  const full = resolve(terminal.cwd, path);
  if (statSync(full, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new CommandError(exitCode.failed, `--${option} ${path}: this is a folder`);
  if (statSync(dirname(full), { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new CommandError(exitCode.failed, `--${option} ${path}: there is no folder to write it to`);
}

async function write(session: Session, args: Arguments, option: string, text: () => string): Promise<void> {
  const path = textOf(args, option);
  if (path !== undefined) await writeWhole(resolve(session.terminal.cwd, path), text());
}

function show(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}
