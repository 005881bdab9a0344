/** A plan with all its sizes evaluated for the dims of one run. */
import type { Plan, PlanBuffer } from "../../compiler/plan/plan.ts";
import { DeviceError } from "../device.ts";
import type { Dims } from "./size.ts";
import { SizeError, countOf, parseSize } from "./size.ts";

export interface SizedBuffer {
  readonly id: number;
  readonly kind: PlanBuffer["kind"];
  readonly bytes: number;
  /** For a temporary: its place in the temporaries' allocation; temporaries that share a slot have equal offsets. */
  readonly offset: number;
}

export interface SizedLaunch {
  readonly kernel: number;
  readonly buffers: readonly number[];
  readonly grid: readonly [number, number, number];
  readonly sizes: readonly number[];
  /** Extents of each of the kernel's tensor maps, slowest first. */
  readonly maps: readonly (readonly number[])[];
  /** May begin before the launch ahead of it has ended: its kernel waits. */
  readonly early: boolean;
}

export interface SizedPlan {
  readonly buffers: ReadonlyMap<number, SizedBuffer>;
  readonly temporaryBytes: number;
  /** Both without those whose grid is empty. */
  readonly preparation: readonly SizedLaunch[];
  readonly launches: readonly SizedLaunch[];
  /** In order of the plan's outputs. */
  readonly outputShapes: readonly (readonly number[])[];
}

/** Parses the plan's sizes once; the function may be called for any dims. Throws `DeviceError` for sizes that make no sense. */
export function sizerOf(plan: Plan): (dims: Dims) => SizedPlan {
  const count = (text: string): ((dims: Dims) => number) => {
    const size = parseSize(text);
    return (dims) => countOf(text, size, dims);
  };
  const temporaryBytes = count(plan.temporaryBytes);
  const buffers = plan.buffers.map(({ id, kind, bytes, offset }) => ({
    id,
    kind,
    bytes: count(bytes),
    offset: count(offset ?? "0"),
  }));
  const launchesOf = (list: Plan["launches"]): ((dims: Dims) => readonly SizedLaunch[]) => {
    const parsed = list.map(({ kernel, buffers: ids, grid: [x, y, z], sizes, maps, early = false }) => ({
      kernel,
      early,
      buffers: ids,
      grid: [count(x), count(y), count(z)] as const,
      sizes: sizes.map(parseSize),
      maps: maps.map((extents) => extents.map(count)),
    }));
    return (dims) =>
      parsed
        .map(({ kernel, early, buffers: ids, grid: [x, y, z], sizes, maps }): SizedLaunch => ({
          kernel,
          early,
          buffers: ids,
          grid: [x(dims), y(dims), z(dims)],
          sizes: sizes.map((size) => size(dims)),
          maps: maps.map((extents) => extents.map((extent) => extent(dims))),
        }))
        .filter(({ grid }) => grid.every((blocks) => blocks > 0));
  };
  const [preparation, launches] = [launchesOf(plan.preparation), launchesOf(plan.launches)];
  const outputs = plan.outputs.map((output) => output.shape.map(count));
  return (dims) =>
    explained(() => ({
      buffers: new Map(
        buffers.map(({ id, kind, bytes, offset }) => [
          id,
          { id, kind, bytes: bytes(dims), offset: offset(dims) },
        ]),
      ),
      temporaryBytes: temporaryBytes(dims),
      preparation: preparation(dims),
      launches: launches(dims),
      outputShapes: outputs.map((shape) => shape.map((extent) => extent(dims))),
    }));
}

/** A size that has no value is an error of the plan's, in the device's words. */
export function explained<T>(evaluate: () => T): T {
  try {
    return evaluate();
  } catch (error) {
    if (error instanceof SizeError)
      throw new DeviceError(`the plan does not fit these sizes: ${error.message}`);
    throw error;
  }
}
