/** The driver API with its statuses turned into errors, in the driver's own name and text. */
import { DeviceError } from "../device.ts";
import type { Cuda, CudaLibrary, Handle, Status } from "./library.ts";

/** Numbers from cuda.h. */
export const cudaConstants = {
  attribute: {
    l2Bytes: 38,
    computeCapabilityMajor: 75,
    computeCapabilityMinor: 76,
    maxSharedBytes: 97,
  },
  /** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
  maxDynamicShared: 8,
  /** CU_STREAM_NON_BLOCKING: no order with the legacy default stream. */
  nonBlocking: 1,
  /** CU_STREAM_CAPTURE_MODE_THREAD_LOCAL. */
  captureThreadLocal: 1,
  /** Of a tensor map: no interleaving, fetched into L2 by 256 bytes, zeros out of bounds. */
  tensorMap: { bytes: 128, align: 64, interleaveNone: 0, promotion256: 3, fillZeros: 0 },
  jit: { infoLog: 3, infoLogBytes: 4, errorLog: 5, errorLogBytes: 6, lineNumbers: 13 },
  status: { success: 0, outOfMemory: 2, notReady: 600 },
} as const;

export class CudaDriver {
  readonly cuda: Cuda;
  readonly library: CudaLibrary;
  readonly #word = new BigUint64Array(1);
  #context: Handle = 0n;

  constructor(cuda: Cuda) {
    this.cuda = cuda;
    this.library = cuda.library;
  }

  /** Throws `DeviceError` unless `status` is success: what was tried, the error's name, its text. */
  check(status: Status, what: string): void {
    if (status !== cudaConstants.status.success) throw new DeviceError(`${what}: ${this.errorText(status)}`);
  }

  /** `CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered`. */
  errorText(status: Status): string {
    const named = (read: "cuGetErrorName" | "cuGetErrorString"): string | undefined => {
      const failed = this.library[read](status, this.#word) !== cudaConstants.status.success;
      const address = this.#word[0] ?? 0n;
      return failed || address === 0n ? undefined : this.cuda.textAt(address);
    };
    return [named("cuGetErrorName") ?? `CUDA error ${status}`, named("cuGetErrorString")]
      .filter(Boolean)
      .join(": ");
  }

  /** The one handle that a call writes. */
  handle(what: string, call: (out: BigUint64Array) => Status): Handle {
    const out = new BigUint64Array(1);
    this.check(call(out), what);
    return out[0] ?? 0n;
  }

  integer(what: string, call: (out: Int32Array) => Status): number {
    const out = new Int32Array(1);
    this.check(call(out), what);
    return out[0] ?? 0;
  }

  openContext(device: number): void {
    this.#context = this.handle("cuDevicePrimaryCtxRetain", (out) =>
      this.library.cuDevicePrimaryCtxRetain(out, device),
    );
    this.enter();
  }

  /** Makes this device's context the thread's: several devices may be open in one process. */
  enter(): void {
    this.check(this.library.cuCtxSetCurrent(this.#context), "cuCtxSetCurrent");
  }

  /** Resolves when all that the stream holds is done; the event loop goes on meanwhile. */
  async finish(stream: Handle, what: string): Promise<void> {
    for (;;) {
      this.enter();
      const status = this.library.cuStreamQuery(stream);
      if (status !== cudaConstants.status.notReady) return this.check(status, what);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
