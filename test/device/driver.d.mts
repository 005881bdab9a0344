import type { Artifact, Compiled, Plan } from "../../compiler/index.ts";
import type { HostTensor, LoadedPlan } from "../../runtime/index.ts";

type Dims = Readonly<Record<string, number>>;

export interface DeviceCase {
  readonly name: string;
  readonly file: string;
  readonly entry: string;
  readonly bound: Dims;
  readonly sizes: readonly Dims[];
  readonly fit: (dims: Dims) => Dims;
  readonly types: readonly Readonly<Record<string, string>>[];
  readonly on?: readonly string[];
  readonly unpromised: number;
}

export interface Expected {
  readonly outputs: ReadonlyMap<string, HostTensor>;
  readonly bounds: ReadonlyMap<string, Float64Array>;
}

export interface Driver {
  readonly cases: readonly DeviceCase[];
  /** Diagnostics and all; without a target it ends at the graph. */
  attempt(
    one: DeviceCase,
    types: Readonly<Record<string, string>>,
    target: string | undefined,
    size: Dims,
  ): Compiled;
  compileCase(
    one: DeviceCase,
    types: Readonly<Record<string, string>>,
    target: string,
    size?: Dims,
  ): Compiled & { readonly artifact: Artifact };
  inputsOf(one: DeviceCase, compiled: Compiled, dims: Dims): ReadonlyMap<string, HostTensor>;
  referenceOf(compiled: Compiled, inputs: ReadonlyMap<string, HostTensor>, dims: Dims): Expected;
  compareRun(
    one: DeviceCase,
    plan: Plan,
    loaded: LoadedPlan,
    inputs: ReadonlyMap<string, HostTensor>,
    expected: Expected,
  ): Promise<{
    readonly problems: readonly string[];
    readonly elements: number;
    readonly unbounded: number;
  }>;
}

/** The parts of the compiler and the runtime that the driver calls, by their names. */
export function driverOf(weft: Readonly<Record<string, unknown>>): Driver;
export function text(record: Readonly<Record<string, string | number>>): string;
