/**
 * Runs plans on any device that has memory and launches: binds the dims, finds each buffer its memory, copies what
 * lies on the host, launches in order, and brings the results back. Devices differ in a `Backend` alone.
 */
import type { Artifact, Plan } from "../../compiler/plan/plan.ts";
import type {
  Device,
  DeviceTensor,
  LoadedPlan,
  Measurement,
  MeasureOptions,
  RunOptions,
  RunResult,
} from "../device.ts";
import { DeviceError } from "../device.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { byteCount, tensorOf } from "../tensor/tensor.ts";
import type { Backend, Launch, Program, Range } from "./backend.ts";
import { bindDims, checkRelations } from "./dims.ts";
import { checkTarget } from "./kernel-text.ts";
import { measure } from "./measure.ts";
import type { Block } from "./memory-pool.ts";
import { Preparation, type Source } from "./preparation.ts";
import type { Dims } from "./size.ts";
import type { SizedLaunch, SizedPlan } from "./sized-plan.ts";
import { explained, sizerOf } from "./sized-plan.ts";

/** Tensors and loaded plans of one device. */
export class Executor<M> {
  readonly #device: Device;
  readonly #backend: Backend<M>;
  /** Where each tensor of this device lies; a freed one is not in it. */
  readonly #blocks = new WeakMap<object, Block<M>>();
  /** How often a run has written a tensor's memory, as a state. */
  readonly #writes = new WeakMap<Block<M>, number>();

  constructor(device: Device, backend: Backend<M>) {
    this.#device = device;
    this.#backend = backend;
  }

  get cacheBytes(): number | undefined {
    return this.#device.cacheBytes;
  }

  upload(tensor: HostTensor): DeviceTensor {
    const block = this.#backend.pool.take(tensor.bytes.length);
    this.#backend.write(block.memory, tensor.bytes);
    return this.wrap(tensor.dtype, tensor.shape, block);
  }

  /** A tensor over a block that it holds from now on. */
  wrap(dtype: HostTensor["dtype"], shape: readonly number[], block: Block<M>): DeviceTensor {
    const { pool } = this.#backend;
    const tensor: DeviceTensor = {
      device: this.#device,
      dtype,
      shape: [...shape],
      read: async (): Promise<HostTensor> => {
        const bytes = await this.#backend.read(this.blockOf(tensor).memory, byteCount(dtype, shape));
        return tensorOf(dtype, shape, bytes);
      },
      free: (): void => {
        if (this.#blocks.delete(tensor)) pool.drop(block);
      },
    };
    this.#blocks.set(tensor, block);
    return tensor;
  }

  blockOf(tensor: DeviceTensor): Block<M> {
    const block = this.#blocks.get(tensor);
    if (block !== undefined) return block;
    const reason = tensor.device === this.#device ? "has been freed" : `lies on ${tensor.device.description}`;
    throw new DeviceError(`a tensor of ${this.#device.description} is expected, and this one ${reason}`);
  }

  noteWrite(tensor: DeviceTensor): void {
    const block = this.blockOf(tensor);
    this.#writes.set(block, (this.#writes.get(block) ?? 0) + 1);
  }

  writesOf(tensor: DeviceTensor): number {
    return this.#writes.get(this.blockOf(tensor)) ?? 0;
  }

  async load(artifact: Artifact): Promise<LoadedPlan> {
    checkTarget(artifact, this.#device);
    const program = await this.#backend.load(artifact);
    return new LoadedProgram(this, this.#backend, artifact.plan, program);
  }
}

type Inputs = ReadonlyMap<string, HostTensor | DeviceTensor>;

/** Memory that a loaded plan keeps for runs at the dims that it ran at last. */
interface Workspace<M> {
  readonly key: string;
  readonly sized: SizedPlan;
  readonly blocks: Map<number, Block<M>>;
  readonly slots: Map<number, Block<M>>;
  launches: readonly Launch<M>[];
}

class LoadedProgram<M> implements LoadedPlan {
  readonly #executor: Executor<M>;
  readonly #backend: Backend<M>;
  readonly #plan: Plan;
  readonly #program: Program<M>;
  readonly #sizes: ReturnType<typeof sizerOf>;
  readonly #preparation: Preparation<M>;
  #workspace: Workspace<M> | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #freed = false;

  constructor(executor: Executor<M>, backend: Backend<M>, plan: Plan, program: Program<M>) {
    this.#executor = executor;
    this.#backend = backend;
    this.#plan = plan;
    this.#program = program;
    this.#sizes = explained(() => sizerOf(plan));
    this.#preparation = new Preparation(backend.pool);
  }

  run(inputs: Inputs, options: RunOptions): Promise<RunResult> {
    return this.#queued(() => this.#run(inputs, options));
  }

  measure(sets: readonly Inputs[], options: MeasureOptions): Promise<Measurement> {
    return this.#queued(() => this.#measure(sets, options));
  }

  /** Runs stand in a queue: they share the plan's memory. */
  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#forget();
    this.#preparation.free();
    this.#program.free();
  }

  async #run(inputs: Inputs, options: RunOptions): Promise<RunResult> {
    const workspace = this.#workspaceOf(inputs);
    const kept = new Map<number, Block<M>>();
    try {
      const blocks = this.#place(workspace, inputs, this.#preparation, kept, options.keep);
      const launches = this.#launches(workspace, blocks);
      await this.#prepare(workspace, inputs, this.#preparation, blocks);
      for (const { name, role } of this.#plan.inputs) {
        const tensor = inputs.get(name);
        if (role === "state" && tensor !== undefined && "device" in tensor) this.#executor.noteWrite(tensor);
      }
      const timings = await this.#program.launch(launches, options.time);
      return { outputs: await this.#results(workspace.sized, inputs, blocks, options.keep), timings };
    } finally {
      for (const block of kept.values()) this.#backend.pool.drop(block);
    }
  }

  /** Parameters are prepared before a run, unless they are those of the last one. */
  async #prepare(
    workspace: Workspace<M>,
    inputs: Inputs,
    preparation: Preparation<M>,
    blocks: ReadonlyMap<number, Block<M>>,
  ): Promise<void> {
    const { sized } = workspace;
    if (sized.preparation.length === 0) return;
    const sources = this.#plan.inputs.flatMap(({ name, role }): readonly Source[] => {
      const tensor = role === "param" ? inputs.get(name) : undefined;
      if (tensor === undefined) return [];
      return [{ tensor, writes: "device" in tensor ? this.#executor.writesOf(tensor) : 0 }];
    });
    const launches = this.#ranged(workspace, sized.preparation, blocks);
    await preparation.refresh(sources, () => this.#program.launch(launches, false));
  }

  /** Each set has results of its own, as it has inputs; temporaries are the plan's. Nothing is timed of a preparation. */
  async #measure(sets: readonly Inputs[], options: MeasureOptions): Promise<Measurement> {
    if (options.flushBytes > 0 && this.#executor.cacheBytes === undefined)
      throw new DeviceError("this device does not tell the size of its cache, which is to be flushed");
    const own = sets.map((inputs) => ({
      inputs,
      kept: new Map<number, Block<M>>(),
      preparation: new Preparation(this.#backend.pool),
    }));
    try {
      const placed = own.map(({ inputs, kept, preparation }) => {
        const workspace = this.#workspaceOf(inputs);
        const blocks = this.#place(workspace, inputs, preparation, kept, true);
        return { inputs, preparation, workspace, blocks, launches: this.#launches(workspace, blocks) };
      });
      for (const { inputs, preparation, workspace, blocks } of placed)
        await this.#prepare(workspace, inputs, preparation, blocks);
      const states = this.#plan.inputs.filter(({ role }) => role === "state");
      const restore = (): void => {
        for (const { inputs, blocks } of placed) {
          for (const { name, buffer } of states) {
            const [tensor, block] = [inputs.get(name), blocks.get(buffer)];
            if (tensor === undefined || block === undefined || "device" in tensor)
              throw new DeviceError(`the state '${name}' is to be timed from a tensor on the host`);
            this.#backend.write(block.memory, tensor.bytes);
          }
        }
      };
      const measured = {
        sets: placed.map(({ launches }) => launches),
        restore: states.length === 0 ? undefined : restore,
      };
      return await measure(this.#backend, this.#program, measured, options);
    } finally {
      for (const { kept, preparation } of own) {
        for (const block of kept.values()) this.#backend.pool.drop(block);
        preparation.free();
      }
    }
  }

  #workspaceOf(inputs: Inputs): Workspace<M> {
    if (this.#freed) throw new DeviceError("the plan has been freed");
    const dims = explained(() => bindDims(this.#plan, inputs));
    explained(() => checkRelations(this.#plan, dims));
    return this.#workspaceFor(dims);
  }

  #workspaceFor(dims: Dims): Workspace<M> {
    const key = [...dims].map(([name, value]) => `${name}=${value}`).join();
    if (this.#workspace?.key === key) return this.#workspace;
    this.#forget();
    const sized = this.#sizes(dims);
    const { pool, temporaries } = this.#backend;
    const slots = new Map<number, Block<M>>();
    if (temporaries === "one") {
      if (sized.temporaryBytes > 0) slots.set(0, pool.take(sized.temporaryBytes));
    } else {
      const bytes = new Map<number, number>();
      for (const buffer of sized.buffers.values()) {
        if (buffer.kind === "temporary")
          bytes.set(buffer.offset, Math.max(bytes.get(buffer.offset) ?? 0, buffer.bytes));
      }
      for (const [offset, most] of bytes) slots.set(offset, pool.take(most));
    }
    this.#workspace = { key, sized, blocks: new Map(), slots, launches: [] };
    return this.#workspace;
  }

  #forget(): void {
    const { pool } = this.#backend;
    for (const block of this.#workspace?.blocks.values() ?? []) pool.drop(block);
    for (const block of this.#workspace?.slots.values() ?? []) pool.drop(block);
    this.#workspace = undefined;
  }

  /** A block for each of the caller's buffers, with the host's inputs copied; `kept` gets those that results take along. */
  #place(
    workspace: Workspace<M>,
    inputs: Inputs,
    preparation: Preparation<M>,
    kept: Map<number, Block<M>>,
    keep: boolean,
  ): ReadonlyMap<number, Block<M>> {
    const { pool } = this.#backend;
    const results = new Set(this.#plan.outputs.map((output) => output.buffer));
    const own = (id: number): Block<M> => {
      const of = keep && results.has(id) ? kept : workspace.blocks;
      const known = of.get(id);
      if (known !== undefined) return known;
      const { bytes, kind } = workspace.sized.buffers.get(id) ?? { bytes: 0, kind: undefined };
      const block = pool.take(bytes);
      of.set(id, block);
      if (kind === "flags") this.#backend.write(block.memory, new Uint8Array(bytes));
      return block;
    };
    const blocks = new Map<number, Block<M>>(preparation.place(workspace.sized));
    for (const { name, buffer } of this.#plan.inputs) {
      const tensor = inputs.get(name);
      if (tensor === undefined) throw new DeviceError(`input '${name}' is missing`);
      const onDevice = "device" in tensor;
      const block = onDevice ? this.#executor.blockOf(tensor) : own(buffer);
      if (!onDevice) this.#backend.write(block.memory, tensor.bytes);
      blocks.set(buffer, block);
    }
    for (const { id, kind } of workspace.sized.buffers.values()) {
      if (kind !== "temporary" && !blocks.has(id)) blocks.set(id, own(id));
    }
    return blocks;
  }

  /** The launches on these blocks: the very array of the last run when nothing moved. */
  #launches(workspace: Workspace<M>, blocks: ReadonlyMap<number, Block<M>>): readonly Launch<M>[] {
    const launches = this.#ranged(workspace, workspace.sized.launches, blocks);
    const same =
      launches.length === workspace.launches.length &&
      launches.every((launch, k) =>
        launch.buffers.every((part, n) => part.memory === workspace.launches[k]?.buffers[n]?.memory),
      );
    if (!same) workspace.launches = launches;
    return workspace.launches;
  }

  #ranged(
    workspace: Workspace<M>,
    launches: readonly SizedLaunch[],
    blocks: ReadonlyMap<number, Block<M>>,
  ): readonly Launch<M>[] {
    const range = (id: number): Range<M> => {
      const buffer = workspace.sized.buffers.get(id);
      if (buffer === undefined) throw new DeviceError(`the plan has no buffer ${id}`);
      const { offset, bytes, kind } = buffer;
      const own = blocks.get(id);
      if (kind !== "temporary" && own !== undefined) return { memory: own.memory, offset: 0, bytes };
      const apart = this.#backend.temporaries === "each";
      const slot = workspace.slots.get(apart ? offset : 0);
      if (slot === undefined) throw new DeviceError(`the plan's buffer ${id} has no memory`);
      return { memory: slot.memory, offset: apart ? 0 : offset, bytes };
    };
    return launches.map((launch) => ({ ...launch, buffers: launch.buffers.map(range) }));
  }

  async #results(
    sized: SizedPlan,
    inputs: Inputs,
    blocks: ReadonlyMap<number, Block<M>>,
    keep: boolean,
  ): Promise<ReadonlyMap<string, HostTensor | DeviceTensor>> {
    const outputs = new Map<string, HostTensor | DeviceTensor>();
    const given = new Map(this.#plan.inputs.map((input) => [input.buffer, inputs.get(input.name)]));
    for (const [k, { name, dtype, role, buffer }] of this.#plan.outputs.entries()) {
      const shape = sized.outputShapes[k] ?? [];
      const block = blocks.get(buffer);
      if (block === undefined) throw new DeviceError(`the result '${name}' has no buffer`);
      const input = given.get(buffer);
      const onDevice = input !== undefined && "device" in input;
      if (keep && onDevice && role === "state") {
        outputs.set(name, input);
      } else if (keep && !onDevice) {
        this.#backend.pool.hold(block);
        outputs.set(name, this.#executor.wrap(dtype, shape, block));
      } else {
        const bytes = await this.#backend.read(block.memory, byteCount(dtype, shape));
        const tensor = tensorOf(dtype, shape, bytes);
        // A result that is an argument as it came: the caller may free either, so it is a copy.
        outputs.set(name, keep ? this.#executor.upload(tensor) : tensor);
      }
    }
    return outputs;
  }
}
