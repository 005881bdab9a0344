/**
 * Builds a plan from kernels in launch order and the values that they read and write. A value that is neither an
 * input nor a result is a temporary; its memory comes from `assign-buffers.ts`.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Buffer, Kernel, TensorMap } from "../kernel/ir.ts";
import { sharedLayout, sizeTypes } from "../kernel/launch.ts";
import { sizeExpression } from "../types/dim-text.ts";
import type { Dim } from "../types/dim.ts";
import { constant, mul } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";
import { dtypes } from "../types/dtype.ts";
import type { BufferAssignment, Temporary } from "./assign-buffers.ts";
import { assignBuffers } from "./assign-buffers.ts";
import type { Artifact, Plan, PlanBuffer, PlanKernel, PlanLaunch, PlanMap, PlanTensor } from "./plan.ts";
import { planSchema } from "./plan.ts";
import { sha256 } from "./sha256.ts";

/** A tensor that a kernel reads or writes, or that comes in or goes out. */
export interface PlanValue {
  readonly id: number;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /** The value whose memory this one overwrites (a state updated in place), else undefined. */
  readonly inPlaceOf: number | undefined;
  /** A kernel's flags. */
  readonly isFlags?: boolean;
}

export interface NamedValue {
  readonly name: string;
  readonly axes: readonly string[];
  readonly role: PlanTensor["role"];
  readonly value: number;
}

export interface LaunchRequest {
  readonly kernel: Kernel;
  /** The kernel waits by itself for the launch ahead. */
  readonly isEarly?: boolean;
  /** What the target's `emit` gave for the kernel. */
  readonly emitted: {
    readonly text: string;
    readonly entry: string;
    readonly lines: PlanKernel["lines"];
    readonly features: readonly string[];
  };
  /** Value of each global buffer of the kernel, in its order. */
  readonly values: readonly number[];
  /** Counted over the launch. */
  readonly bytes: Dim;
  readonly flops: Dim;
  /** Ceilings of the units that it runs on, per second. */
  readonly roofline: PlanKernel["roofline"];
}

export interface PlanRequest {
  readonly compiler: string;
  readonly program: string;
  readonly target: string;
  /** Ending of the kernels' files, with the dot. */
  readonly extension: string;
  readonly bound: ReadonlyMap<string, number>;
  readonly dynamic: readonly string[];
  readonly checks: readonly {
    readonly left: Dim;
    readonly relation: Plan["checks"][number]["relation"];
    readonly right: Dim;
    readonly message: string;
  }[];
  readonly values: readonly PlanValue[];
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** In the order in which they run: once for the same parameters, and in each run. */
  readonly preparation: readonly LaunchRequest[];
  readonly launches: readonly LaunchRequest[];
}

export function buildPlan(request: PlanRequest): Artifact {
  const values = new Map(request.values.map((value) => [value.id, value]));
  const home = (id: number): number => homeOf(values, id);
  const used = new Set([...request.inputs, ...request.outputs].map(({ value }) => home(value)));
  for (const launch of allOf(request)) for (const value of launch.values) used.add(home(value));
  const buffers = planBuffers(request, values, used);
  const number = new Map(buffers.list.map((buffer, k) => [buffer.value, k]));
  const bufferOf = (value: number): number => {
    const id = number.get(home(value));
    invariant(id !== undefined, `value ${value} has no buffer`);
    return id;
  };
  const tensorOf = ({ name, axes, role, value }: NamedValue): PlanTensor => {
    const { dtype, shape } = valueOf(values, value);
    return { name, dtype, shape: shape.map(sizeExpression), axes, role, buffer: bufferOf(value) };
  };
  const kernels = new KernelFiles(request.extension);
  const planned = (launch: LaunchRequest): PlanLaunch => {
    const { grid, sizes, maps } = launch.kernel;
    return {
      kernel: kernels.add(launch),
      buffers: launch.values.map(bufferOf),
      grid: [sizeExpression(grid[0]), sizeExpression(grid[1]), sizeExpression(grid[2])],
      sizes: sizes.map(({ dim }) => sizeExpression(dim)),
      maps: maps.map(({ dims }) => dims.map(sizeExpression)),
      ...(launch.isEarly === true ? { early: true } : {}),
    };
  };
  const plan: Plan = {
    schema: planSchema,
    compiler: request.compiler,
    program: request.program,
    target: request.target,
    dims: { bound: Object.fromEntries(request.bound), dynamic: request.dynamic },
    checks: request.checks.map(({ left, relation, right, message }) => ({
      left: sizeExpression(left),
      relation,
      right: sizeExpression(right),
      message,
    })),
    inputs: request.inputs.map(tensorOf),
    outputs: request.outputs.map(tensorOf),
    buffers: buffers.list.map(({ kind, bytes, offset }, id): PlanBuffer => ({ id, kind, bytes, offset })),
    temporaryBytes: sizeExpression(buffers.temporaryBytes),
    preparation: request.preparation.map(planned),
    launches: request.launches.map(planned),
    kernels: kernels.kernels,
  };
  return { plan, files: kernels.files };
}

/** The plan as text: stable, one launch or kernel a paragraph. */
export function printPlan(plan: Plan): string {
  return `${JSON.stringify(plan, undefined, 2)}\n`;
}

function valueOf(values: ReadonlyMap<number, PlanValue>, id: number): PlanValue {
  const value = values.get(id);
  invariant(value !== undefined, `there is no value ${id}`);
  return value;
}

/** The value in whose memory this one lies. */
function homeOf(values: ReadonlyMap<number, PlanValue>, id: number): number {
  let at = valueOf(values, id);
  for (let steps = 0; at.inPlaceOf !== undefined; steps += 1) {
    invariant(steps < values.size, `value ${id} is in place of itself`);
    at = valueOf(values, at.inPlaceOf);
  }
  return at.id;
}

interface Buffers {
  readonly list: readonly (Omit<PlanBuffer, "id"> & { readonly value: number })[];
  readonly temporaryBytes: Dim;
}

function allOf({ preparation, launches }: PlanRequest): readonly LaunchRequest[] {
  return [...preparation, ...launches];
}

/** Inputs first, then outputs, then what is prepared, then temporaries, each in order of mention. */
function planBuffers(
  request: PlanRequest,
  values: ReadonlyMap<number, PlanValue>,
  used: ReadonlySet<number>,
): Buffers {
  const kinds = new Map<number, PlanBuffer["kind"]>();
  for (const { value, role } of request.inputs)
    kinds.set(homeOf(values, value), role === "state" ? "state" : "input");
  for (const { value } of request.outputs) {
    const home = homeOf(values, value);
    if (!kinds.has(home)) kinds.set(home, "output");
  }
  for (const value of used) if (values.get(value)?.isFlags === true) kinds.set(value, "flags");
  const touched = (launches: readonly LaunchRequest[]): ReadonlySet<number> =>
    new Set(launches.flatMap((launch) => launch.values.map((value) => homeOf(values, value))));
  const [prepared, read] = [touched(request.preparation), touched(request.launches)];
  for (const value of prepared) if (!kinds.has(value) && read.has(value)) kinds.set(value, "prepared");
  const temporaries = [...used].filter((value) => !kinds.has(value));
  for (const value of temporaries) kinds.set(value, "temporary");
  const assignment: BufferAssignment = assignBuffers(livesOf(request, values, temporaries));
  const list = [...kinds].map(([value, kind]) => {
    const offset = assignment.offsets.get(value);
    return {
      value,
      kind,
      bytes: sizeExpression(bytesOf(valueOf(values, value))),
      offset: offset === undefined ? undefined : sizeExpression(offset),
    };
  });
  return { list, temporaryBytes: assignment.bytes };
}

function livesOf(
  request: PlanRequest,
  values: ReadonlyMap<number, PlanValue>,
  temporaries: readonly number[],
): readonly Temporary[] {
  const lives = new Map<number, { first: number; last: number }>();
  for (const [at, launch] of allOf(request).entries()) {
    for (const value of launch.values) {
      const home = homeOf(values, value);
      const life = lives.get(home);
      if (life === undefined) lives.set(home, { first: at, last: at });
      else life.last = at;
    }
  }
  return temporaries.map((id) => {
    const life = lives.get(id);
    invariant(life !== undefined, `no launch touches the temporary ${id}`);
    return { id, bytes: bytesOf(valueOf(values, id)), ...life };
  });
}

function bytesOf({ dtype, shape }: PlanValue): Dim {
  return mul(constant(dtypes[dtype].bytes), ...shape);
}

function planMap({ name, buffer, box, swizzle }: TensorMap, global: readonly Buffer[]): PlanMap {
  const position = global.indexOf(buffer);
  invariant(position >= 0, `map ${name} views ${buffer.name}, which is no parameter`);
  return { name, buffer: position, dtype: buffer.dtype, box, swizzle };
}

/** Kernels by text: two launches of one kernel share its file. */
class KernelFiles {
  readonly kernels: PlanKernel[] = [];
  readonly files = new Map<string, string>();
  readonly #extension: string;
  readonly #known = new Map<string, number>();
  readonly #taken = new Map<string, string>();

  constructor(extension: string) {
    this.#extension = extension;
  }

  add(launch: LaunchRequest): number {
    const { kernel, emitted, roofline } = launch;
    const [bytes, flops] = [sizeExpression(launch.bytes), sizeExpression(launch.flops)];
    // A kernel at two sizes is two records over one file: bytes and FLOPs are a launch's own.
    const global = kernel.buffers.filter((buffer) => buffer.space === "global");
    const maps = kernel.maps.map((map) => planMap(map, global));
    const key = JSON.stringify([kernel.name, emitted.entry, emitted.text, bytes, flops, maps]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    invariant(global.length === launch.values.length, `${kernel.name} has ${global.length} buffers`);
    const types = sizeTypes(kernel);
    const shared = sharedLayout(kernel);
    const record: PlanKernel = {
      name: kernel.name,
      entry: emitted.entry,
      summary: kernel.summary,
      file: this.#fileOf(kernel.name, emitted.text),
      sha256: sha256(emitted.text),
      threads: kernel.threads,
      sharedBytes: shared.bytes,
      dynamicSharedBytes: shared.kind === "dynamic" ? shared.bytes : 0,
      buffers: global.map(({ name, dtype, access }: Buffer) => ({ name, dtype, access })),
      sizes: kernel.sizes.map(({ name }, k) => ({ name, type: types[k] ?? "i32" })),
      maps,
      features: emitted.features,
      bytes,
      flops,
      roofline,
      lines: emitted.lines,
    };
    this.kernels.push(record);
    this.#known.set(key, this.kernels.length - 1);
    return this.kernels.length - 1;
  }

  #fileOf(name: string, text: string): string {
    const stem = name.replace(/[^A-Za-z0-9_]/g, "_").slice(0, 80);
    for (let copy = 1; ; copy += 1) {
      const file = `${stem}${copy === 1 ? "" : `_${copy}`}${this.#extension}`;
      // Some file systems do not tell Softmax from softmax.
      const taken = this.#taken.get(file.toLowerCase());
      if (taken !== undefined && (taken !== file || this.files.get(file) !== text)) continue;
      this.#taken.set(file.toLowerCase(), file);
      this.files.set(file, text);
      return file;
    }
  }
}
