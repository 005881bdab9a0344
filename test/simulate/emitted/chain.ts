/**
 * Launches of one plan, one after the other on the same memory, as plain values: what a GPU ran and what the
 * simulator runs are the same texts on the same bytes.
 */
import { createHash } from "node:crypto";
import {
  createDevice,
  encodeTensorMap,
  launch as simulate,
  loadModule,
  type Buffer,
  type KernelArg,
  type Module,
  type TensorMap,
} from "../../../runtime/simulate/index.ts";
import { approximateOf, rewritten } from "./approximate.ts";

export interface Chain {
  readonly name: string;
  /** Memory: its first bytes where it is an input, in base64, and all ones where it is not. */
  readonly buffers: readonly { readonly bytes: number; readonly input?: string }[];
  readonly launches: readonly ChainLaunch[];
}

export interface ChainLaunch {
  /** Number of the text. */
  readonly text: number;
  readonly entry: string;
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  readonly dynamicShared: number;
  readonly buffers: readonly number[];
  /** Of them, those that are compared. */
  readonly written: readonly number[];
  readonly sizes: readonly { readonly type: "i32" | "i64"; readonly value: number }[];
  /** Tensor maps, after the sizes; none where it is left out. */
  readonly maps?: readonly ChainMap[];
  /** Approximate results of a thread, at the most. */
  readonly slots: number;
}

/** A tensor map as the driver takes it: the contiguous dimension first. */
export interface ChainMap extends Pick<TensorMap, "type" | "dims" | "strides" | "box" | "swizzle"> {
  /** Number of the buffer that it views. */
  readonly of: number;
}

/** What a GPU gave for one launch. */
export interface Answer {
  /** SHA-256 of each written buffer, in base64. */
  readonly hashes: readonly string[];
  /** Its approximate results, as the log that `rewritten` describes, in base64. */
  readonly log?: string;
}

export interface Step {
  readonly outputs: readonly Uint8Array[];
  readonly hashes: readonly string[];
  /** Inputs and results of the approximate instructions. */
  readonly approximations: { readonly inputs: Float32Array; readonly values: Float32Array } | undefined;
}

export const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64");

/** Modules by text and form; the same text is compiled once. */
export class Modules {
  readonly #texts: readonly string[];
  readonly #loaded = new Map<string, Module>();

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  of(text: number, form: "plain" | "count" | "replay"): Module {
    const key = `${form} ${text}`;
    const source = this.#texts[text] ?? "";
    const module = this.#loaded.get(key) ?? loadModule(form === "plain" ? source : rewritten(source, form));
    this.#loaded.set(key, module);
    return module;
  }

  isApproximate(text: number): boolean {
    return approximateOf(this.#texts[text] ?? "").length > 0;
  }
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

/** The memory of one chain, and its launches on the simulator. Hidden state: the device. */
export class ChainRun {
  readonly #modules: Modules;
  readonly #device = createDevice();
  readonly #buffers: readonly Buffer[];

  constructor(chain: Chain, modules: Modules) {
    this.#modules = modules;
    this.#buffers = chain.buffers.map(({ bytes, input }) => {
      const buffer = this.#device.alloc(bytes);
      this.#device.fill(buffer, 0xff);
      if (input !== undefined) this.#device.write(buffer, bytesOf(input));
      return buffer;
    });
  }

  /** With what the hardware gave for its approximate instructions; where a launch has some, `log` must be there. */
  replay(launch: ChainLaunch, log: string | undefined): Step {
    if (launch.slots === 0) return this.#run(launch, "plain", [], undefined);
    if (log === undefined)
      throw new Error(`${launch.entry} has approximate instructions, and no log of them`);
    const values = this.#device.alloc(logBytes(launch));
    this.#device.write(values, bytesOf(log));
    const inputs = this.#device.alloc(logBytes(launch));
    this.#device.fill(inputs, 0xff);
    return this.#run(launch, "replay", [values, inputs], { values, inputs });
  }

  /** Runs on with the simulator's own approximations; gives how many a thread has at the most. */
  count(launch: ChainLaunch): number {
    if (!this.#modules.isApproximate(launch.text)) {
      this.#run(launch, "plain", [], undefined);
      return 0;
    }
    const counts = this.#device.alloc(logBytes({ ...launch, slots: 1 }));
    this.#device.fill(counts, 0);
    this.#run(launch, "count", [counts], undefined);
    return new Uint32Array(this.#device.read(counts).buffer).reduce((most, n) => Math.max(most, n), 1);
  }

  #run(
    launch: ChainLaunch,
    form: "plain" | "count" | "replay",
    logs: readonly Buffer[],
    log: { readonly values: Buffer; readonly inputs: Buffer } | undefined,
  ): Step {
    const of = (k: number): Buffer => {
      const buffer = this.#buffers[k];
      if (buffer === undefined) throw new Error(`no buffer ${k}`);
      return buffer;
    };
    const sizes = launch.sizes.map(({ type, value }): KernelArg =>
      type === "i64" ? { kind: type, value: BigInt(value) } : { kind: type, value },
    );
    const maps = (launch.maps ?? []).map(({ of: k, ...map }): KernelArg => ({
      kind: "bytes",
      bytes: encodeTensorMap({ ...map, address: of(k).address, fill: "zero" }),
    }));
    const pointers = (list: readonly Buffer[]): readonly KernelArg[] =>
      list.map((buffer) => ({ kind: "buffer", buffer }));
    const { findings } = simulate(
      this.#modules.of(launch.text, form),
      launch.entry,
      {
        grid: launch.grid,
        block: [launch.threads, 1, 1],
        sharedBytes: launch.dynamicShared,
        args: [...pointers(launch.buffers.map(of)), ...sizes, ...maps, ...pointers(logs)],
        device: this.#device,
      },
      // Races and the like are looked for where these programs run as plans.
      { memoryChecks: false },
    );
    if (findings.length > 0) throw new Error(`${launch.entry}: ${findings[0]?.message}`);
    const outputs = launch.written.map((k) => this.#device.read(of(k)));
    const floats = (buffer: Buffer): Float32Array => new Float32Array(this.#device.read(buffer).buffer);
    const approximations = log && { inputs: floats(log.inputs), values: floats(log.values) };
    return { outputs, hashes: outputs.map(hashOf), approximations };
  }
}

export function logBytes({ grid, threads, slots }: ChainLaunch): number {
  return 4 * slots * threads * grid[0] * grid[1] * grid[2];
}
