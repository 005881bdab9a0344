/**
 * What a loaded plan makes of its parameters, kept on the device: made before the first run, and again where a parameter is
 * another tensor, has been written since, or lies on the host, whose bytes anyone may have changed.
 */
import type { DeviceTensor } from "../device.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { Block, MemoryPool } from "./memory-pool.ts";
import type { SizedPlan } from "./sized-plan.ts";

/** A parameter, and how often its memory had been written. */
export interface Source {
  readonly tensor: HostTensor | DeviceTensor;
  readonly writes: number;
}

export class Preparation<M> {
  readonly #pool: MemoryPool<M>;
  readonly #blocks = new Map<number, Block<M>>();
  #sizes = "";
  #sources: readonly Source[] | undefined;

  constructor(pool: MemoryPool<M>) {
    this.#pool = pool;
  }

  /** Memory for what is prepared, by buffer; what is in it stays while the sizes do, whatever a run's own sizes are. */
  place({ buffers, preparation }: SizedPlan): ReadonlyMap<number, Block<M>> {
    const kept = [...buffers.values()].filter(({ kind }) => kind === "prepared");
    const sizes = JSON.stringify([kept, preparation]);
    if (sizes === this.#sizes) return this.#blocks;
    this.free();
    for (const { id, bytes } of kept) this.#blocks.set(id, this.#pool.take(bytes));
    this.#sizes = sizes;
    return this.#blocks;
  }

  /** Calls `make` unless it was made of these very tensors. */
  async refresh(sources: readonly Source[], make: () => Promise<unknown>): Promise<void> {
    const known = this.#sources;
    const isSame = sources.every(
      ({ tensor, writes }, k) =>
        "device" in tensor && known?.[k]?.tensor === tensor && known[k].writes === writes,
    );
    if (known !== undefined && isSame) return;
    this.#sources = undefined;
    await make();
    this.#sources = sources;
  }

  free(): void {
    for (const block of this.#blocks.values()) this.#pool.drop(block);
    this.#blocks.clear();
    this.#sizes = "";
    this.#sources = undefined;
  }
}
