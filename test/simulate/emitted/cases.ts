/** The kernels that the device tests compile, with one run each, as chains that a GPU can run: `run-on-gpu.py`. */
import type { Artifact } from "../../../compiler/index.ts";
import type { PlanKernel } from "../../../compiler/plan/plan.ts";
import type { Device } from "../../../runtime/index.ts";
import type { Backend, Launch } from "../../../runtime/plan/backend.ts";
import { Executor } from "../../../runtime/plan/executor.ts";
import { MemoryPool } from "../../../runtime/plan/memory-pool.ts";
import { tiledMap } from "../../../runtime/plan/tensor-maps.ts";
import { tensorMapTypes } from "../../../runtime/simulate/index.ts";
import { driver, text, type Case, type Sizes, type Types } from "../../device/driver.ts";
import { approximateOf, rewritten } from "./approximate.ts";
import { ChainRun, Modules, type Chain, type ChainLaunch, type ChainMap } from "./chain.ts";

export interface EmittedCases {
  readonly texts: readonly string[];
  /** Of the texts with approximate instructions, the form that writes their results down. */
  readonly recording: Readonly<Record<number, string>>;
  readonly chains: readonly Chain[];
}

/** Everything but what says where a text was made for: such texts are one. */
const withoutHead = (content: string): string => content.replace(/^\.(version|target) .*$/gm, "");

/** All programs with open sizes at a small size, and every third one with its last sizes known. */
export async function emittedCases(): Promise<EmittedCases> {
  const texts: string[] = [];
  const known = new Map<string, number>();
  const chains: Chain[] = [];
  for (const target of ["ptx:sm_90a", "ptx:sm_80"]) {
    for (const [n, one] of driver.cases.entries()) {
      const types = one.types[n % one.types.length] ?? {};
      const [last, small] = [one.sizes.at(-1) ?? {}, one.sizes[Math.min(1, one.sizes.length - 1)] ?? {}];
      const runs: readonly (readonly [Sizes, Sizes])[] =
        n % 3 === 0
          ? [
              [{}, small],
              [last, last],
            ]
          : [[{}, small]];
      for (const [bound, sizes] of runs) {
        const before = texts.length;
        const number = (content: string): number => {
          const found = known.get(withoutHead(content)) ?? texts.length;
          if (found === texts.length) texts.push(content);
          known.set(withoutHead(content), found);
          return found;
        };
        const chain = await chainOf(one, types, target, bound, sizes, number);
        if (texts.length > before) chains.push(chain);
      }
    }
  }
  const modules = new Modules(texts);
  const counted = chains.map((chain) => {
    const run = new ChainRun(chain, modules);
    return { ...chain, launches: chain.launches.map((launch) => ({ ...launch, slots: run.count(launch) })) };
  });
  const recording = Object.fromEntries(
    texts.flatMap((content, k) =>
      approximateOf(content).length > 0 ? [[k, rewritten(content, "record")]] : [],
    ),
  );
  return { texts, recording, chains: counted };
}

async function chainOf(
  one: Case,
  types: Types,
  target: string,
  bound: Sizes,
  sizes: Sizes,
  number: (content: string) => number,
): Promise<Chain> {
  const compiled = driver.compileCase(one, types, target, bound);
  const dims = { ...one.bound, ...sizes };
  const inputs = driver.inputsOf(one, compiled, dims);
  const { plan, files } = compiled.artifact;
  const { launches, first } = await planned(compiled.artifact, inputs);
  const memories = [...new Set(launches.flatMap((launch) => launch.buffers.map(({ memory }) => memory)))];
  return {
    name: `${one.name} ${text(types)} ${text(dims)} ${target}${bound === sizes ? " known" : ""}`,
    buffers: memories.map((memory) => {
      const given = first.get(memory);
      return given === undefined
        ? { bytes: memory.length }
        : { bytes: memory.length, input: Buffer.from(given).toString("base64") };
    }),
    launches: launches.map((launch): ChainLaunch => {
      const kernel = plan.kernels[launch.kernel];
      if (kernel === undefined) throw new Error(`no kernel ${launch.kernel}`);
      if (launch.buffers.some(({ offset }) => offset !== 0))
        throw new Error("a buffer begins inside another");
      const buffers = launch.buffers.map(({ memory }) => memories.indexOf(memory));
      return {
        text: number(files.get(kernel.file) ?? ""),
        entry: kernel.entry,
        grid: launch.grid,
        threads: kernel.threads,
        dynamicShared: kernel.dynamicSharedBytes,
        buffers,
        written: buffers.filter((_, k) => kernel.buffers[k]?.access !== "read"),
        sizes: launch.sizes.map((value, k) => ({ type: kernel.sizes[k]?.type ?? "i32", value })),
        ...(kernel.maps.length === 0 ? {} : { maps: mapsOf(kernel, launch, buffers) }),
        slots: 0,
      };
    }),
  };
}

function mapsOf(
  kernel: PlanKernel,
  launch: Launch<Uint8Array>,
  buffers: readonly number[],
): readonly ChainMap[] {
  return kernel.maps.map((map, k): ChainMap => {
    const [range, of, extents] = [launch.buffers[map.buffer], buffers[map.buffer], launch.maps[k]];
    if (range === undefined || of === undefined || extents === undefined)
      throw new Error(`${kernel.entry}: the map ${map.name} views no buffer`);
    const { type, ...tiled } = tiledMap(kernel, map, extents, range.bytes);
    const name = tensorMapTypes[type];
    if (name === undefined) throw new Error(`there is no tensor map of type ${type}`);
    return { ...tiled, type: name, of };
  });
}

/** The launches of a plan on these inputs, none of them made, and the bytes that inputs have. */
async function planned(
  artifact: Artifact,
  inputs: ReturnType<typeof driver.inputsOf>,
): Promise<{
  readonly launches: readonly Launch<Uint8Array>[];
  readonly first: ReadonlyMap<Uint8Array, Uint8Array>;
}> {
  const first = new Map<Uint8Array, Uint8Array>();
  let launches: readonly Launch<Uint8Array>[] = [];
  const backend: Backend<Uint8Array> = {
    pool: new MemoryPool<Uint8Array>({
      allocate: (bytes) => new Uint8Array(bytes),
      release: () => undefined,
    }),
    temporaries: "each",
    write: (memory, bytes) => void first.set(memory, bytes.slice()),
    read: (memory, bytes) => Promise.resolve(memory.slice(0, bytes)),
    load: () =>
      Promise.resolve({
        launch: (list) => {
          launches = list;
          return Promise.resolve([]);
        },
        free: () => undefined,
      }),
  };
  const device: Device = {
    name: "simulate",
    description: "a list of launches",
    targets: ["ptx:sm_90a", "ptx:sm_80"],
    upload: (tensor) => Promise.resolve(executor.upload(tensor)),
    load: (loaded) => executor.load(loaded),
    close: () => Promise.resolve(),
  };
  const executor = new Executor(device, backend);
  const program = await device.load(artifact);
  const names = new Set(artifact.plan.inputs.map(({ name }) => name));
  await program.run(new Map([...inputs].filter(([name]) => names.has(name))), { keep: false, time: false });
  return { launches, first };
}
