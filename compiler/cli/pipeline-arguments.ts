/** The options of `weft pipeline`: sizes, costs, links and pieces, each checked before anything is computed. */
import type { Costs, Pieces, Schedule, SimulationOptions } from "../pipeline/index.ts";
import { type Arguments, textOf, textsOf } from "./commands/command.ts";
import { usageError } from "./exit-code.ts";

export function simulationOptions(
  args: Arguments,
  published: Pieces,
  names: readonly string[],
): SimulationOptions {
  const buffers = wholeOf(args, "buffers");
  const link = {
    latency: numberOf(args, "latency"),
    bandwidth: numberOf(args, "bandwidth"),
    bytes: numberOf(args, "bytes"),
  };
  const stages = pairsOf(args, "stage-cost", (key) => /^\d{1,5}$/.test(key), "a stage's number");
  const pieces = piecesOf(args, published, names);
  if (link.bandwidth === 0) throw usageError("--bandwidth 0: nothing would arrive");
  const given = { buffers, jitter: numberOf(args, "jitter"), seed: wholeOf(args, "seed"), pieces };
  return {
    ...given,
    costs: costsOf(args),
    link,
    ...(stages.size === 0 ? {} : { stageCosts: stageList(stages) }),
  };
}

function costsOf(args: Arguments): Partial<Costs> {
  const given = pairsOf(args, "cost", (key) => ["F", "B", "W", "FB"].includes(key), "F, B, W or FB");
  const costs: Partial<Costs> = Object.fromEntries(given);
  const { B = 2, W = 1 } = costs;
  if (W > B) throw usageError(`--cost W=${W}: B is the whole backward, and ${B}`);
  return costs;
}

function stageList(stages: ReadonlyMap<string, number>): readonly number[] {
  const list: number[] = [];
  for (const [stage, cost] of stages) {
    while (list.length <= Number(stage)) list.push(1);
    list[Number(stage)] = cost;
  }
  return list;
}

function piecesOf(args: Arguments, published: Pieces, names: readonly string[]): Pieces | undefined {
  const text = textOf(args, "pieces");
  if (text === undefined) return undefined;
  const given =
    text === "published"
      ? new Map<string, number>()
      : pairsOf({ pieces: [text] }, "pieces", (key) => names.includes(key), names.join(", "));
  const share = numberOf(args, "sm-share") ?? published.share;
  if (share <= 0 || share >= 1) throw usageError(`--sm-share ${share} is a part between 0 and 1`);
  const layers = wholeOf(args, "layers") ?? published.layers;
  if (layers < 1) throw usageError("--layers 0: a stage has layers");
  return { ...published, layers, share, times: { ...published.times, ...Object.fromEntries(given) } };
}

function pairsOf(
  args: Arguments,
  name: string,
  isKey: (key: string) => boolean,
  what: string,
): ReadonlyMap<string, number> {
  const pairs = new Map<string, number>();
  for (const part of textsOf(args, name).flatMap((text) => text.split(","))) {
    const [, key = "", value = ""] = /^\s*([^=\s]+)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
    if (!isKey(key)) throw usageError(`--${name} ${part}: takes NAME=NUMBER, the name being ${what}`);
    if (pairs.has(key)) throw usageError(`--${name} gives ${key} more than once`);
    pairs.set(key, parseNumber(name, value));
  }
  return pairs;
}

function numberOf(args: Arguments, name: string): number | undefined {
  const text = textOf(args, name);
  return text === undefined ? undefined : parseNumber(name, text);
}

/** So that times added up stay exact enough to compare. */
const largest = 1e12;

function parseNumber(name: string, text: string): number {
  const value = Number(text);
  if (!/^[0-9.]+(?:e[-+]?[0-9]+)?$/i.test(text) || !Number.isFinite(value))
    throw usageError(`--${name}: '${text}' is no number from 0 on`);
  if (value > largest) throw usageError(`--${name} ${text}: this is a number up to ${largest}`);
  return value;
}

export function wholeOf(args: Arguments, name: string): number | undefined {
  const value = numberOf(args, name);
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || (value < 1 && name !== "seed"))
    throw usageError(`--${name} ${value}: this is a whole number from 1 on`);
  return value;
}

/** Actions that each output is made of at most: what a reader can open and a text can hold. */
const most = { svg: 2 ** 18, trace: 2 ** 20, json: 2 ** 20, pieces: 2 ** 18 } as const;

/** Refuses an output of more actions than it can have, before anything is computed. */
export function checkAmount(args: Arguments, schedule: Schedule, options: SimulationOptions): void {
  const actions = schedule.start[schedule.ranks] ?? 0;
  const layers = options.pieces?.layers ?? 0;
  const check = (option: keyof typeof most, amount: number, what: string): void => {
    if (amount > most[option])
      throw usageError(
        `--${option} of ${amount} ${what}: it has up to ${most[option]}; take fewer --ranks, --micro or --layers`,
      );
  };
  if (layers > 0) check("pieces", actions * layers, "layers in all actions");
  const parts = actions * Math.max(1, layers);
  for (const option of ["svg", "trace"] as const)
    if (textOf(args, option) !== undefined)
      check(option, parts, layers > 0 ? "layers in all actions" : "actions");
  if (args["json"] === true) check("json", actions, "actions");
}

/** Stages are those that the schedule has. */
export function checkStages(schedule: Schedule, options: SimulationOptions): void {
  const stages = Math.max(...schedule.directions.map((direction) => direction.stages));
  const given = options.stageCosts?.length ?? 0;
  if (given > stages)
    throw usageError(`--stage-cost ${given - 1}: '${schedule.name}' has stages 0 to ${stages - 1} here`);
}
