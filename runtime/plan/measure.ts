/**
 * Times a plan over several sets of tensors in turn: on the device's own clock where it has one, else on the host's.
 *
 * A sample is `repeats` passes over all sets. Kernels are timed apart as well, each over the same sets. A plan with
 * state is timed one run at a time, its state put back before each.
 */
import type { Measurement, MeasureOptions } from "../device.ts";
import type { Backend, Launch, Program } from "./backend.ts";

/** Passes over all sets in one sample. */
const maxRepeats = 1000;

export interface Measured<M> {
  /** The plan's launches on each set. */
  readonly sets: readonly (readonly Launch<M>[])[];
  /** Puts the states back; undefined for a plan without. */
  readonly restore: (() => void) | undefined;
}

export async function measure<M>(
  backend: Backend<M>,
  program: Program<M>,
  { sets, restore }: Measured<M>,
  options: MeasureOptions,
): Promise<Measurement> {
  const first = sets[0] ?? [];
  // To warm up: modules are loaded, clocks rise, and every page is touched.
  for (const launches of sets) await program.launch(launches, false);
  await backend.finish?.();
  const timed = async (parts: readonly (readonly Launch<M>[])[]): Promise<readonly number[]> => {
    const isSingle = restore !== undefined || options.flushBytes > 0;
    const chosen = isSingle ? parts.slice(0, 1) : parts;
    const launches = chosen.flat();
    if (launches.length === 0) return [0];
    const { samples, flushBytes } = options;
    const sample = (count: number, repeats: number): Promise<readonly number[]> =>
      program.time === undefined
        ? timeByHost(backend, program, chosen, { samples: count, repeats, restore })
        : program.time(launches, { samples: count, repeats, restore, flushBytes });
    const [once = 0] = await sample(1, 1);
    const repeats = isSingle ? 1 : Math.ceil(options.sampleSeconds / Math.max(once, 1e-7));
    const passes = await sample(samples, Math.min(Math.max(repeats, 1), maxRepeats));
    return passes.map((seconds) => seconds / chosen.length);
  };
  const runs = await timed(sets);
  const launches =
    program.time === undefined
      ? await apartByHost(program, first, options.samples, restore)
      : await apart(first, (k) => timed(sets.map((launches_) => launches_.slice(k, k + 1))));
  return { clock: program.time === undefined ? "host" : "device", runs, launches };
}

type Apart = Measurement["launches"];

async function apart<M>(
  first: readonly Launch<M>[],
  timed: (k: number) => Promise<readonly number[]>,
): Promise<Apart> {
  const found: { readonly kernel: number; readonly seconds: readonly number[] }[] = [];
  for (const [k, { kernel }] of first.entries()) found.push({ kernel, seconds: await timed(k) });
  return found;
}

interface HostTiming {
  readonly samples: number;
  readonly repeats: number;
  readonly restore: (() => void) | undefined;
}

async function timeByHost<M>(
  backend: Backend<M>,
  program: Program<M>,
  sets: readonly (readonly Launch<M>[])[],
  { samples, repeats, restore }: HostTiming,
): Promise<readonly number[]> {
  const found: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    restore?.();
    await backend.finish?.();
    const start = performance.now();
    for (let repeat = 0; repeat < repeats; repeat += 1)
      for (const launches of sets) await program.launch(launches, false);
    await backend.finish?.();
    found.push(((performance.now() - start) * 1e-3) / repeats);
  }
  return found;
}

/** By the times that the device gives for each launch of a run. */
async function apartByHost<M>(
  program: Program<M>,
  launches: readonly Launch<M>[],
  samples: number,
  restore: (() => void) | undefined,
): Promise<Apart> {
  const seconds = launches.map((): number[] => []);
  for (let sample = 0; sample < samples; sample += 1) {
    restore?.();
    const timings = await program.launch(launches, true);
    for (const [k, timing] of timings.entries()) seconds[k]?.push(timing.seconds);
  }
  return launches.map(({ kernel }, k) => ({ kernel, seconds: seconds[k] ?? [] }));
}
