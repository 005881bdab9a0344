/**
 * One interface for everything that runs a plan: `reference` and `simulate` are devices too.
 *
 * A device owns its memory. `load` prepares a plan once (modules, pipelines); `run` may then be called any number
 * of times, with tensors on the host (they are copied) or already on this device (they are not).
 */
import type { Artifact } from "../compiler/plan/plan.ts";
import type { HostTensor } from "./tensor/tensor.ts";

export interface DeviceTensor {
  readonly device: Device;
  readonly dtype: HostTensor["dtype"];
  readonly shape: readonly number[];
  /** Copies to the host. */
  read(): Promise<HostTensor>;
  free(): void;
}

export interface KernelTiming {
  readonly kernel: string;
  /** Seconds on the device's own clock where it has one, else on the host's. */
  readonly seconds: number;
}

export interface RunOptions {
  /** Keep results on the device. */
  readonly keep: boolean;
  /** Time each launch (it waits after each). */
  readonly time: boolean;
}

export interface RunResult {
  /** By result name; a state's new parts by `kv.pages`, ... */
  readonly outputs: ReadonlyMap<string, HostTensor | DeviceTensor>;
  readonly timings: readonly KernelTiming[];
}

export interface MeasureOptions {
  readonly samples: number;
  /** Seconds that a sample lasts at least, by as many runs as that takes. */
  readonly sampleSeconds: number;
  /**
   * Bytes that are written elsewhere before each run, so that the device's cache holds nothing of it; 0 for none. A
   * sample is then one run on the first set of inputs. Only a device that tells its `cacheBytes` does it.
   */
  readonly flushBytes: number;
}

/** Times in seconds, one a sample. */
export interface Measurement {
  /** "device": between two events on its own clock. "host": from the first call to the end of the wait. */
  readonly clock: "device" | "host";
  /** Of a run of the whole plan. */
  readonly runs: readonly number[];
  /** Of each launch by itself, in order: the plan's kernel and its times. Those of an empty grid are not there. */
  readonly launches: readonly { readonly kernel: number; readonly seconds: readonly number[] }[];
}

/**
 * What a plan makes of parameters alone (a weight's codes and scales) is made before the first run, and again when a
 * parameter is another tensor, has been written as some plan's state, or lies on the host: so give parameters on the device.
 */
export interface LoadedPlan {
  /** `inputs` by plan name. Throws `DeviceError` for a missing or misshapen input, a failed size check, or the device's own error. */
  run(inputs: ReadonlyMap<string, HostTensor | DeviceTensor>, options: RunOptions): Promise<RunResult>;
  /**
   * Times the plan over sets of inputs of the same shapes, in turn: as many as the cache cannot hold, where inputs are
   * to come from memory. States are given on the host, and are put back before each run. Throws like `run`.
   */
  measure(
    sets: readonly ReadonlyMap<string, HostTensor | DeviceTensor>[],
    options: MeasureOptions,
  ): Promise<Measurement>;
  free(): void;
}

export interface Device {
  readonly name: "reference" | "js" | "webgpu" | "cuda" | "simulate";
  /** `NVIDIA H200, driver 580.159`, for people. */
  readonly description: string;
  /** Targets whose plans it loads, best first: `ptx:sm_90a`. */
  readonly targets: readonly string[];
  /** Bytes of the cache before the device's memory (a GPU's L2); undefined where the device does not tell. */
  readonly cacheBytes?: number | undefined;
  upload(tensor: HostTensor): Promise<DeviceTensor>;
  load(artifact: Artifact): Promise<LoadedPlan>;
  close(): Promise<void>;
}

/** The device's own words, with the kernel's name and source line where one is to blame. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
}
