/** The tensors of a run: from a safetensors file, random, or both. */
import { resolve } from "node:path";
import { sizeExpression } from "../types/dim-text.ts";
import type { Plan, PlanTensor } from "../plan/plan.ts";
import { dtypes } from "../types/dtype.ts";
import { openSafetensorsFile, type SafetensorsOnDisk } from "../../runtime/safetensors/file.ts";
import type { InputSpec } from "../../runtime/plan/dims.ts";
import { tellDims } from "../../runtime/plan/dims.ts";
import { evaluateCount } from "../../runtime/plan/size.ts";
import type { Dims } from "../../runtime/plan/size.ts";
import { randomTensor } from "../../runtime/tensor/random.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import { byteCount, elementCount, tensorOf } from "../../runtime/tensor/tensor.ts";
import { fromNumbers, toNumbers } from "../../runtime/tensor/values.ts";
import { rowsName } from "../lower/ragged-border.ts";
import type { Compiled } from "./api.ts";
import { CommandError, exitCode, usageError } from "./exit-code.ts";

export interface InputRequest {
  /** Path of a safetensors file. */
  readonly input: string | undefined;
  readonly seed: number | undefined;
  readonly ranges: ReadonlyMap<string, Range>;
  readonly cwd: string;
  /** Elements that are drawn for a tensor, and repeated to its end; undefined for all. */
  readonly drawn?: number | undefined;
}

/** Integers from `low` up to `high`, sizes over the program's dims; `high` is left out. */
export interface Range {
  readonly low: string;
  readonly high: string;
}

export interface RunInputs {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly dims: Dims;
}

/** Range of integers that `--range` says nothing of: small enough to index most things. */
const defaultRange: Range = { low: "0", high: "8" };

/** `--range ids=0:V`, given once or more. */
export function parseRanges(texts: readonly string[]): ReadonlyMap<string, Range> {
  const ranges = new Map<string, Range>();
  for (const text of texts) {
    const [, name, low, high] = /^([^=]+)=([^:]+):([^:]+)$/.exec(text) ?? [];
    if (name === undefined || low === undefined || high === undefined) {
      throw usageError(`--range takes NAME=LOW:HIGH, such as ids=0:V, not '${text}'`);
    }
    ranges.set(name, { low, high });
  }
  return ranges;
}

/** Parses `--random SEED`. */
export function parseSeed(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seed = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(seed))
    throw usageError(`--random takes a whole number, not '${text}'`);
  return seed;
}

/** What a graph takes, in a plan's words: for the reference, which has no plan. */
export function graphInputs(
  program: string,
  compiled: Compiled,
  bound: ReadonlyMap<string, number>,
): InputSpec {
  const graph = compiled.graph?.graph;
  const inputs = (graph?.inputs ?? []).map((node): PlanTensor => {
    const [type] = node.types;
    const shape = (type?.shape ?? []).map(sizeExpression);
    return { name: node.name, dtype: type?.dtype ?? "f32", shape, axes: shape, role: node.role, buffer: 0 };
  });
  const dims: Plan["dims"] = { bound: Object.fromEntries(bound), dynamic: graph?.dims ?? [] };
  return { program, dims, inputs };
}

/** All inputs of the program and the values of its dims. Throws `CommandError` where something is missing. */
export async function gatherInputs(spec: InputSpec, request: InputRequest): Promise<RunInputs> {
  const tensors =
    request.input === undefined
      ? new Map<string, HostTensor>()
      : await readInputs(spec, resolve(request.cwd, request.input));
  const { dims, open } = tellDims(spec, tensors);
  const missing = spec.inputs.filter(({ name }) => !tensors.has(name));
  if (missing.length > 0 && request.seed === undefined) {
    const names = missing.map(({ name, dtype, shape }) => `${name}: ${dtype}[${shape.join(", ")}]`);
    throw new CommandError(
      exitCode.failed,
      `no input for ${names.join("; ")} (give --input FILE, or --random SEED)`,
    );
  }
  if (open.size > 0) {
    throw new CommandError(
      exitCode.failed,
      `no size is given for ${[...open].join(", ")} (give --dims ${[...open].map((name) => `${name}=..`).join(",")})`,
    );
  }
  checkRangeNames(spec, request.ranges);
  for (const input of missing) tensors.set(input.name, randomInput(input, dims, request));
  return { tensors, dims };
}

/** Tensors of the file that the program names; of the others, none is read. */
async function readInputs(spec: InputSpec, path: string): Promise<Map<string, HostTensor>> {
  const file = await openInput(path);
  try {
    const tensors = new Map<string, HostTensor>();
    for (const { name } of spec.inputs) if (file.tensors.has(name)) tensors.set(name, await file.read(name));
    if (tensors.size === 0 && spec.inputs.length > 0) {
      const names = [...file.tensors.keys()].slice(0, 8).join(", ");
      throw new CommandError(
        exitCode.failed,
        `${path} has none of the inputs of ${spec.program}; it has ${names || "no tensor"}`,
      );
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** Opens a safetensors file; the caller closes it. One that is not there, or is none, is said by its name. */
export async function openInput(path: string): Promise<SafetensorsOnDisk> {
  try {
    return await openSafetensorsFile(path);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if ("code" in error && error.code === "ENOENT")
      throw new CommandError(exitCode.failed, `${path}: there is no such file`);
    if (error.name === "SafetensorsError" && !error.message.startsWith(path))
      throw new CommandError(exitCode.failed, `${path} is no safetensors file: ${error.message}`);
    throw error;
  }
}

function checkRangeNames(spec: InputSpec, ranges: ReadonlyMap<string, Range>): void {
  for (const name of ranges.keys()) {
    const input = spec.inputs.find((one) => one.name === name);
    if (input === undefined) throw usageError(`--range ${name}: ${spec.program} has no input of that name`);
    if (dtypes[input.dtype].kind !== "int")
      throw usageError(`--range ${name}: ${name} is ${input.dtype}, and ranges are for integers`);
  }
}

function randomInput(input: PlanTensor, dims: Dims, request: InputRequest): HostTensor {
  const { name, dtype } = input;
  const shape = input.shape.map((extent) => evaluateCount(extent, dims));
  const range = request.ranges.get(name);
  // A paged cache begins empty, its pages lying in order: random page numbers would make no cache.
  if (input.role === "state" && range === undefined && dtype === "i32") {
    const count = elementCount(shape);
    return fromNumbers(
      dtype,
      shape,
      Array.from({ length: count }, (_, k) => (name.endsWith(".table") ? k : 0)),
    );
  }
  const rows = dims.get(rowsName(name));
  if (rows !== undefined && range === undefined)
    return fromNumbers(dtype, shape, sharesOf(rows, elementCount(shape), { seed: request.seed ?? 0, name }));
  const { low, high } = range ?? defaultRange;
  const fill = {
    seed: request.seed ?? 0,
    name,
    deviation: 1,
    low: evaluateCount(low, dims),
    high: evaluateCount(high, dims),
  };
  const count = elementCount(shape);
  if (request.drawn === undefined || count <= request.drawn) return randomTensor(dtype, shape, fill);
  return repeated(randomTensor(dtype, [request.drawn], fill), shape);
}

/** How many of the rows each of so many experts has, at random: every row goes to one. */
function sharesOf(
  rows: number,
  experts: number,
  { seed, name }: { readonly seed: number; readonly name: string },
): readonly number[] {
  const fill = { seed, name, deviation: 1, low: 0, high: rows + 1 };
  const cuts = toNumbers(randomTensor("i32", [Math.max(0, experts - 1)], fill));
  const ends = [...Array.from(cuts, Number).sort((a, b) => a - b), rows];
  return ends.map((end, k) => end - (ends[k - 1] ?? 0));
}

/** The elements of a tensor over and over. */
function repeated({ dtype, bytes: part }: HostTensor, shape: readonly number[]): HostTensor {
  const bytes = new Uint8Array(byteCount(dtype, shape));
  for (let at = 0; at < bytes.length; at += part.length)
    bytes.set(part.subarray(0, Math.min(part.length, bytes.length - at)), at);
  return tensorOf(dtype, shape, bytes);
}
