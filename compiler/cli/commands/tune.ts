/** `weft tune`: measures the choices of each kernel's schedule on a device, and prints the fastest as the source may hold them. */
import type { Argv } from "yargs";
import type { Device } from "../../../runtime/device.ts";
import type { Compiled } from "../api.ts";
import { median } from "../bench-report.ts";
import { CommandError, exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { time } from "../plan-summary.ts";
import { drawn, measure, place, type Placed } from "../timing.ts";
import { cacheFolder, measurementKey, readTimes, writeTimes, type Times } from "../tune-cache.ts";
import { writeWhole } from "../write-folder.ts";
import type { Arguments, Command, CompileArguments, Session } from "./command.ts";
import { compileArguments, compileOptions, compileProgram, flagOf, textOf, textsOf } from "./command.ts";
import { resolve } from "node:path";

export const tuneCommand: Command = {
  name: "tune <program>",
  summary: "Measure the choices of each kernel's schedule, and print the fastest as schedule blocks",
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
        describe: "SEED: fill the inputs that no file gives",
      })
      .option("range", {
        type: "string",
        array: true,
        describe: "NAME=LOW:HIGH for random integers, HIGH left out",
      })
      .option("choices", {
        type: "number",
        default: 24,
        describe: "of a kernel, the cheapest by the cost model",
      })
      .option("seconds", { type: "number", default: 45, describe: "after which no other choice is begun" })
      .option("samples", {
        type: "number",
        default: 5,
        describe: "of a choice; the fastest have four times as many",
      })
      .option("cache", {
        type: "string",
        describe: "folder of measurements; else WEFT_CACHE, or the user's cache",
      })
      .option("fresh", { type: "boolean", describe: "measure again what the cache has" })
      .option("out", { alias: "o", type: "string", describe: "file for the blocks" })
      .option("json", { type: "boolean", describe: "all measurements as JSON, times in seconds" })
      .example("$0 tune linear.dsl:linear --dims N=4096,D=7168,F=2112 --device cuda", ""),
  run: tune,
};

/** The fastest at first sight are timed again, side by side. */
const finalists = 4;
const finalTimes = 4;

async function tune(session: Session, args: Arguments): Promise<ExitCode> {
  const whole = (name: string): number => {
    const value = args[name];
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1)
      throw usageError(`--${name} takes a whole number from 1`);
    return value;
  };
  const limits: Limits = { choices: whole("choices"), seconds: whole("seconds"), samples: whole("samples") };
  const { bestDevice, deviceNames, openDevice } = await import("../../../runtime/index.ts");
  const name = deviceNames.find((one) => one === textOf(args, "device"));
  const device = name === undefined ? await bestDevice() : await openDevice(name);
  try {
    return await tuneOn(session, args, device, limits);
  } finally {
    await device.close();
  }
}

interface Limits {
  readonly choices: number;
  readonly seconds: number;
  readonly samples: number;
}

/** A choice of a kernel, and the medians of its measurements in seconds. */
interface Measured {
  readonly choice: number;
  readonly block: string;
  /** What the cost model says. */
  readonly expected: number;
  readonly seconds: number;
}

async function tuneOn(session: Session, args: Arguments, device: Device, limits: Limits): Promise<ExitCode> {
  const { terminal } = session;
  const target = device.targets[0] ?? "";
  const program = compileArguments(args);
  const { compiled, failed } = await compileProgram(session, args, program, target);
  if (failed) return exitCode.failed;
  const { artifact, schedules } = compiled;
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
  // What runs once for the same parameters is not timed.
  const { kernels, launches } = artifact.plan;
  const timed = new Set(launches.map(({ kernel }) => kernels[kernel]?.name));
  const lists = schedules
    .filter(({ kernel }) => timed.has(kernel))
    .map(({ kernel, choices }) => ({ kernel, choices: choices().slice(0, limits.choices) }));
  const placed = await place(device, artifact.plan, inputs.tensors, inputs.dims, "rotated");
  try {
    const bench = new Bench(
      session,
      args,
      program,
      device,
      placed,
      artifact.plan.target,
      flagOf(args, "fresh"),
    );
    const measured = await search(bench, lists, limits);
    return await report(session, args, device, lists, measured);
  } finally {
    placed.free();
  }
}

/** Which choice of each kernel, by its name. */
type Picks = ReadonlyMap<string, number>;

/** Compiles the program with some choices, and times its kernels; what was timed before comes from the cache. */
class Bench {
  readonly device: Device;
  readonly #session: Session;
  readonly #program: CompileArguments;
  readonly #placed: Placed;
  readonly #target: string;
  readonly #isFresh: boolean;
  readonly #folder: string;
  readonly #started = performance.now();

  constructor(
    session: Session,
    args: Arguments,
    program: CompileArguments,
    device: Device,
    placed: Placed,
    target: string,
    isFresh: boolean,
  ) {
    this.#session = session;
    this.#program = program;
    this.device = device;
    this.#placed = placed;
    this.#target = target;
    this.#isFresh = isFresh;
    this.#folder = cacheFolder(textOf(args, "cache"), session.terminal.cwd, process.env);
  }

  /** Seconds since the tuning began. */
  get elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }

  progress(done: number, all: number, best: string): void {
    const width = 24;
    const filled = Math.round((width * done) / Math.max(all, 1));
    const bar = `${"#".repeat(filled)}${".".repeat(width - filled)}`;
    this.#session.terminal.progress(
      `[${bar}] ${done} of ${all} choices, ${Math.round(this.elapsed)} s${best}`,
    );
  }

  /** Median seconds by kernel; undefined where the device refuses this choice. */
  async times(picks: Picks, samples: number): Promise<ReadonlyMap<string, number> | undefined> {
    const compiled = await this.#compile(picks);
    const { artifact } = compiled;
    if (artifact === undefined) return undefined;
    const { mode, sets } = this.#placed;
    const key = measurementKey(artifact, this.device.description, `${mode} ${sets} ${samples}`);
    const known = this.#isFresh ? undefined : await readTimes(this.#folder, key);
    let times: Times;
    if (known === undefined) {
      const { launches } = await measure(this.device, artifact, this.#placed, samples);
      times = launches.map(({ kernel, seconds }) => ({ kernel, seconds: Math.max(median(seconds), 1e-9) }));
      await writeTimes(this.#folder, key, times);
    } else times = known;
    return new Map(
      times.flatMap(({ kernel, seconds }): [string, number][] => {
        const spec = artifact.plan.kernels[kernel];
        return spec === undefined ? [] : [[spec.name, seconds]];
      }),
    );
  }

  async #compile(picks: Picks): Promise<Compiled> {
    const api = await this.#session.compiler();
    const { openSource } = await import("../source-host.ts");
    const { source, host } = openSource(this.#program.file, this.#session.terminal.cwd);
    return api.compile({
      source,
      host,
      entry: this.#program.entry,
      target: this.#target,
      dims: this.#program.dims,
      dtypes: this.#program.dtypes,
      pack: this.#program.pack,
      pick: (kernel) => picks.get(kernel) ?? 0,
    });
  }
}

interface Listed {
  readonly kernel: string;
  readonly choices: readonly { readonly block: string; readonly cost: { readonly seconds: number } }[];
}

/** Every kernel's k-th choice at once, for each k; then the fastest of each kernel again. */
async function search(
  bench: Bench,
  lists: readonly Listed[],
  limits: Limits,
): Promise<ReadonlyMap<string, readonly Measured[]>> {
  const found = new Map<string, Measured[]>(lists.map(({ kernel }) => [kernel, []]));
  const note = (kernel: string, choice: number, seconds: number | undefined): void => {
    const option = lists.find((one) => one.kernel === kernel)?.choices[choice];
    const own = found.get(kernel);
    if (seconds === undefined || option === undefined || own === undefined) return;
    const one = { choice, block: option.block, expected: option.cost.seconds, seconds };
    const at = own.findIndex((other) => other.choice === choice);
    if (at < 0) own.push(one);
    else own[at] = one;
  };
  const most = Math.max(0, ...lists.map(({ choices }) => choices.length));
  const all = most + Math.min(finalists, most);
  for (let k = 0; k < most && (k === 0 || bench.elapsed < limits.seconds); k += 1) {
    bench.progress(k, all, "");
    const picks = new Map(lists.map(({ kernel, choices }) => [kernel, Math.min(k, choices.length - 1)]));
    const times = await bench.times(picks, limits.samples);
    for (const { kernel, choices } of lists) if (k < choices.length) note(kernel, k, times?.get(kernel));
  }
  const fastest = new Map(
    [...found].map(([kernel, own]) => [
      kernel,
      [...own]
        .sort((a, b) => a.seconds - b.seconds)
        .slice(0, finalists)
        .map(({ choice }) => choice),
    ]),
  );
  // The first is among them, so that what was gained is told by one and the same measurement.
  for (const list of fastest.values()) if (!list.includes(0)) list[Math.min(list.length, finalists - 1)] = 0;
  const rounds = Math.max(0, ...[...fastest.values()].map((list) => list.length));
  const sure = new Map<string, Set<number>>();
  for (let k = 0; k < rounds; k += 1) {
    bench.progress(most + k, all, "");
    const picks = new Map(
      [...fastest].map(([kernel, list]) => [kernel, list[Math.min(k, list.length - 1)] ?? 0]),
    );
    const times = await bench.times(picks, limits.samples * finalTimes);
    for (const [kernel, choice] of picks) {
      note(kernel, choice, times?.get(kernel));
      sure.set(kernel, (sure.get(kernel) ?? new Set()).add(choice));
    }
  }
  const rank = (kernel: string, { choice }: Measured): number =>
    sure.get(kernel)?.has(choice) === true ? 0 : 1;
  return new Map(
    [...found].map(([kernel, own]) => [
      kernel,
      [...own].sort((a, b) => rank(kernel, a) - rank(kernel, b) || a.seconds - b.seconds),
    ]),
  );
}

async function report(
  session: Session,
  args: Arguments,
  device: Device,
  lists: readonly Listed[],
  measured: ReadonlyMap<string, readonly Measured[]>,
): Promise<ExitCode> {
  const { terminal } = session;
  terminal.progress("");
  const kernels = lists.map(({ kernel }) => ({ kernel, measured: measured.get(kernel) ?? [] }));
  const missing = kernels.find((one) => one.measured.length === 0);
  if (missing !== undefined)
    throw new CommandError(
      exitCode.failed,
      `${device.description} gave no time for the kernel ${missing.kernel}`,
    );
  const text = kernels
    .flatMap(({ measured: [winner, ...others] }) => {
      if (winner === undefined) return [];
      const first = [winner, ...others].find(({ choice }) => choice === 0) ?? winner;
      const gained =
        winner === first
          ? "the compiler's own choice"
          : `the compiler's own choice takes ${time(first.seconds)}`;
      return [`// ${time(winner.seconds)} on ${device.description}; ${gained}`, winner.block];
    })
    .join("\n");
  const out = textOf(args, "out");
  if (out !== undefined) await writeWhole(resolve(terminal.cwd, out), `${text}\n`);
  const json = { device: device.description, kernels };
  terminal.out(flagOf(args, "json") ? JSON.stringify(json, undefined, 2) : text);
  return exitCode.ok;
}
