/** Times plans on a device: `weft bench` one of them, `weft tune` many on the same tensors. */
import type { Device, DeviceTensor, Measurement } from "../../runtime/device.ts";
import type { Dims } from "../../runtime/plan/size.ts";
import { evaluateCount } from "../../runtime/plan/size.ts";
import { byteCount } from "../../runtime/tensor/tensor.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import type { Artifact, Plan } from "../plan/plan.ts";
import type { BenchInputs } from "./bench-report.ts";

/** A sample lasts a millisecond at least: an event's own time is then lost in it. */
const sampleSeconds = 1e-3;
/** Sets of tensors in turn, and how many times the cache's size they are together. */
const maxSets = 64;
const cacheTimes = 4;
/** Elements that are drawn for a tensor. */
export const drawn: number = 2 ** 20;

/** A plan's inputs, as often as the way of timing asks. */
export interface Placed extends Omit<BenchInputs, "cacheBytes"> {
  readonly tensors: readonly ReadonlyMap<string, HostTensor | DeviceTensor>[];
  readonly free: () => void;
}

/** Copies inputs to the device; states stay on the host, from where they are put back. */
export async function place(
  device: Device,
  plan: Plan,
  tensors: ReadonlyMap<string, HostTensor>,
  dims: Dims,
  mode: BenchInputs["mode"],
): Promise<Placed> {
  const bytes = bytesOf(plan, dims);
  const cache = device.cacheBytes ?? 0;
  const count =
    mode === "rotated"
      ? Math.min(maxSets, Math.max(1, Math.ceil((cacheTimes * cache) / Math.max(bytes, 1))))
      : 1;
  const uploaded: DeviceTensor[] = [];
  const free = (): void => {
    for (const tensor of uploaded) tensor.free();
  };
  try {
    const sets: Map<string, HostTensor | DeviceTensor>[] = [];
    for (let k = 0; k < count; k += 1) {
      const set = new Map<string, HostTensor | DeviceTensor>();
      // The plan takes what its kernels read: an input that nothing reads is the graph's alone.
      for (const { name, role } of plan.inputs) {
        const tensor = tensors.get(name);
        if (tensor === undefined) continue;
        const placed = role === "state" ? tensor : await device.upload(tensor);
        if ("device" in placed) uploaded.push(placed);
        set.set(name, placed);
      }
      sets.push(set);
    }
    const isWarm = count === 1 && mode === "rotated" && cache === 0;
    return { mode: isWarm ? "warm" : mode, sets: count, bytes, tensors: sets, free };
  } catch (error) {
    free();
    throw error;
  }
}

/** Loads a plan and times it on tensors that are placed. */
export async function measure(
  device: Device,
  artifact: Artifact,
  placed: Placed,
  samples: number,
): Promise<Measurement> {
  const flushBytes = placed.mode === "cold" ? 2 * (device.cacheBytes ?? 0) : 0;
  const loaded = await device.load(artifact);
  try {
    return await loaded.measure(placed.tensors, { samples, sampleSeconds, flushBytes });
  } finally {
    loaded.free();
  }
}

/** Times a plan on copies of its inputs. */
export async function timed(
  device: Device,
  artifact: Artifact,
  tensors: ReadonlyMap<string, HostTensor>,
  dims: Dims,
  mode: BenchInputs["mode"],
  samples: number,
): Promise<Omit<BenchInputs, "cacheBytes"> & { readonly measured: Measurement }> {
  const placed = await place(device, artifact.plan, tensors, dims, mode);
  try {
    const measured = await measure(device, artifact, placed, samples);
    return { mode: placed.mode, sets: placed.sets, bytes: placed.bytes, measured };
  } finally {
    placed.free();
  }
}

/** Of the plan's inputs and results, each buffer once. */
function bytesOf(plan: Plan, dims: Dims): number {
  const sizes = new Map(
    [...plan.inputs, ...plan.outputs].map(({ buffer, dtype, shape }) => [
      buffer,
      byteCount(dtype, shapeOf(shape, dims)),
    ]),
  );
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function shapeOf(shape: readonly string[], dims: Dims): readonly number[] {
  return shape.map((extent) => evaluateCount(extent, dims));
}
