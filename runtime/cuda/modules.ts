/** Kernels by text: PTX that the driver compiles for the GPU at hand, with its log when it refuses. */
import type { PlanKernel } from "../../compiler/plan/plan.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";
import type { CudaDriver } from "./driver.ts";
import { cudaConstants } from "./driver.ts";
import type { Handle } from "./library.ts";

const logBytes = 64 * 1024;

/** Modules of one device, each text compiled once. */
export class ModuleCache {
  readonly #driver: CudaDriver;
  readonly #modules = new Map<string, Handle>();

  constructor(driver: CudaDriver) {
    this.#driver = driver;
  }

  /** The function to launch, ready for the shared memory that it asks for. Throws `DeviceError` with the driver's own log. */
  functionOf(kernel: PlanKernel, text: string): Handle {
    const { library } = this.#driver;
    const module = this.#modules.get(text) ?? this.#load(kernel, text);
    this.#modules.set(text, module);
    const blame = (what: string): string => kernelMessage(kernel, what, undefined);
    const fn = this.#driver.handle(blame(`cuModuleGetFunction ${kernel.entry}`), (out) =>
      library.cuModuleGetFunction(out, module, kernel.entry),
    );
    const shared = kernel.dynamicSharedBytes;
    if (shared > 0) {
      const status = library.cuFuncSetAttribute(fn, cudaConstants.maxDynamicShared, shared);
      this.#driver.check(status, blame(`${shared} bytes of shared memory`));
    }
    return fn;
  }

  close(): void {
    for (const module of this.#modules.values()) this.#driver.library.cuModuleUnload(module);
    this.#modules.clear();
  }

  #load(kernel: PlanKernel, text: string): Handle {
    const { library, cuda } = this.#driver;
    const image = new TextEncoder().encode(`${text}\0`);
    const [info, errors] = [new Uint8Array(logBytes), new Uint8Array(logBytes)];
    const { jit } = cudaConstants;
    // An option's value is a pointer or, in the pointer's place, a number (cuda.h, CUjit_option).
    const rows: readonly (readonly [number, bigint])[] = [
      [jit.infoLog, cuda.addressOf(info)],
      [jit.infoLogBytes, BigInt(logBytes)],
      [jit.errorLog, cuda.addressOf(errors)],
      [jit.errorLogBytes, BigInt(logBytes)],
      [jit.lineNumbers, 1n],
    ];
    const options = Int32Array.from(rows, ([option]) => option);
    const values = BigUint64Array.from(rows, ([, value]) => value);
    const out = new BigUint64Array(1);
    const status = library.cuModuleLoadDataEx(out, image, rows.length, options, values);
    if (status === cudaConstants.status.success) return out[0] ?? 0n;
    const log = [textOf(errors), textOf(info)].filter((part) => part !== "").join("\n");
    const line = /line (\d+)/.exec(log)?.[1];
    const words = `${this.#driver.errorText(status)}${log === "" ? "" : `\n${log}`}`;
    throw new DeviceError(kernelMessage(kernel, words, line === undefined ? undefined : Number(line)));
  }
}

function textOf(log: Uint8Array): string {
  const end = log.indexOf(0);
  return new TextDecoder().decode(log.subarray(0, end < 0 ? log.length : end)).trim();
}
