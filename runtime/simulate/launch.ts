/** Launches kernels on simulated devices and reports what happened. */
import { encode } from "./arguments.ts";
import type { Buffer, Device, System } from "./device.ts";
import { SimulateError, type Finding } from "./finding.ts";
import { defaultReserved } from "./machine/block.ts";
import { checkBudgets, residentClusters } from "./machine/budget.ts";
import { makeCounts } from "./machine/counts.ts";
import { makeDependents } from "./machine/dependents.ts";
import { makeJournal } from "./machine/journal.ts";
import type { Grid, Machine } from "./machine/machine.ts";
import { makeRegion } from "./machine/region.ts";
import { runMachine } from "./machine/run.ts";
import { recordedSchedule, seededSchedule, type Deviation } from "./machine/schedule.ts";
import { report, type Report } from "./report.ts";
import { globalAddresses } from "./globals.ts";
import type { Module } from "./compile/kernel.ts";

/** One kernel argument: memory, a number of a given type, or bytes as they are (a struct, a tensor map). */
export type KernelArg =
  | { readonly kind: "buffer"; readonly buffer: Buffer; readonly offset?: number }
  | { readonly kind: "i32" | "u32" | "f32" | "f64" | "u16" | "u8"; readonly value: number }
  | { readonly kind: "i64" | "u64"; readonly value: bigint }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

export interface Launch {
  /** Blocks along x, y and z. */
  readonly grid: readonly [number, number, number];
  /** Threads of a block. */
  readonly block: readonly [number, number, number];
  /** Blocks of a cluster; 1, 1, 1 (or the kernel's .reqnctapercluster) when left out. */
  readonly cluster?: readonly [number, number, number];
  /** Dynamic shared memory of a block, in bytes. */
  readonly sharedBytes?: number;
  readonly args: readonly KernelArg[];
  /** The device that runs it; that of the first buffer when left out. */
  readonly device?: Device;
}

/** A kernel and how to launch it; several of them run at once. */
export interface KernelLaunch extends Launch {
  readonly module: Module;
  readonly kernel: string;
  /**
   * Launched with the attribute of programmatic stream serialization: it may begin before the launch ahead of it in
   * the list has ended, as `griddepcontrol` says.
   */
  readonly dependent?: boolean;
}

export interface SimulateOptions {
  /** Order of warps, copies and waits. 0 is plain program order with copies as late as they may be. */
  readonly seed?: number;
  /** How tensor cores add FP8 products: as Hopper does (the default), or rounded once. */
  readonly fp8Accumulate?: "exact" | "hopper";
  /** Whether races, proxies and uninitialised reads are looked for. */
  readonly memoryChecks?: boolean;
  /** Segments in all before the launch is stopped with `step-limit`. */
  readonly maxSteps?: number;
  /** Multiprocessors of a device: how many blocks can be resident at once follows from it. */
  readonly processors?: number;
  /** A recorded schedule to play back instead of the seed's own. */
  readonly schedule?: readonly Deviation[];
}

function makeGrid(
  system: System,
  launch: KernelLaunch,
  number: number,
  processors: number,
  predecessor: Grid | undefined,
): Grid {
  const kernel = launch.module.kernels.get(launch.kernel);
  if (kernel === undefined) {
    throw new SimulateError(
      `the module has no kernel ${launch.kernel}; it has ${[...launch.module.kernels.keys()].join(", ")}`,
    );
  }
  const firstBuffer = launch.args.find((arg) => arg.kind === "buffer");
  const device =
    launch.device ?? (firstBuffer?.kind === "buffer" ? firstBuffer.buffer.device : system.devices[0]!);
  const required = kernel.directives.get(".reqnctapercluster");
  const cluster =
    launch.cluster ??
    (required === undefined
      ? ([1, 1, 1] as const)
      : ([required[0] ?? 1, required[1] ?? 1, required[2] ?? 1] as const));
  launch.grid.forEach((n, axis) => {
    if (!Number.isInteger(n) || n < 1) throw new SimulateError(`a grid of ${launch.grid.join(" x ")} blocks`);
    if (n % cluster[axis]! !== 0)
      throw new SimulateError(
        `a grid of ${launch.grid.join(" x ")} blocks is no multiple of its clusters of ${cluster.join(" x ")}`,
      );
  });
  const dynamicShared = launch.sharedBytes ?? 0;
  const param = makeRegion({
    name: "the kernel's parameters",
    kind: "param",
    size: kernel.paramBytes,
    initialised: true,
    writable: false,
  });
  encode(kernel, launch.args, param.u8);
  const size = cluster[0] * cluster[1] * cluster[2];
  return {
    number,
    kernel,
    device: device.index,
    grid: launch.grid,
    block: launch.block,
    cluster,
    explicitCluster: launch.cluster !== undefined || required !== undefined,
    dynamicShared,
    param,
    globals: globalAddresses(launch.module, device),
    clusters: (launch.grid[0] * launch.grid[1] * launch.grid[2]) / size,
    resident: residentClusters(kernel, launch.block, size, dynamicShared, processors),
    started: 0,
    finished: 0,
    live: new Set(),
    predecessor,
    dependents: undefined,
    runs: new Float64Array(kernel.segments.length),
    lanes: new Float64Array(kernel.segments.length),
    aborted: false,
  };
}

function makeGrids(system: System, launches: readonly KernelLaunch[], processors: number): Grid[] {
  const grids: Grid[] = [];
  launches.forEach((launch, number) => {
    const ahead = launch.dependent === true ? grids[number - 1] : undefined;
    const grid = makeGrid(system, launch, number, processors, ahead);
    if (ahead !== undefined) {
      if (ahead.device !== grid.device)
        throw new SimulateError(`launch ${number} depends on one of another device`);
      ahead.dependents = makeDependents();
    }
    grids.push(grid);
  });
  return grids;
}

/** Journal numbers are 26 bits wide in a shadow entry: begin again, with clean shadows, long before they run out. */
function renewJournal(system: System): void {
  const { journal } = system;
  if (journal.count > 1 << 24) {
    Object.assign(journal, makeJournal());
    for (const region of system.regions.values()) {
      region.shadow?.write.fill(0);
      region.shadow?.read.fill(0);
      region.shadow?.otherRead.fill(0);
    }
  }
  journal.first = journal.count;
}

/** Runs several kernels at once, on one device or on several that reach each other's memory. */
export function launchAll(launches: readonly KernelLaunch[], options: SimulateOptions = {}): Report {
  const system = systemOf(launches);
  renewJournal(system);
  const seed = options.seed ?? 0;
  const processors = options.processors ?? 132;
  const findings: Finding[] = [];
  const machine: Machine = {
    options: {
      fp8Accumulate: options.fp8Accumulate ?? "hopper",
      maxSteps: options.maxSteps ?? 20_000_000,
      memoryChecks: options.memoryChecks ?? true,
      processors,
      sharedReserved: defaultReserved(launches[0]!.module.target),
    },
    seed,
    schedule:
      options.schedule === undefined ? seededSchedule(seed) : recordedSchedule(seed, options.schedule),
    journal: system.journal,
    processors,
    grids: makeGrids(system, launches, processors),
    regions: system.regions,
    findings,
    seen: new Set(),
    counts: makeCounts(),
    realms: [],
    realmDevice: [],
    agentNames: new Map(),
    partialFences: new Map(),
    published: new Map(),
    runnable: [],
    waiting: new Set(),
    pending: [],
    current: undefined,
    yield: false,
    steps: 0,
  };
  launches.forEach((launch, i) => checkBudgets(machine, machine.grids[i]!, launch.module.target));
  runMachine(machine);
  return report(machine);
}

function systemOf(launches: readonly KernelLaunch[]): System {
  for (const launch of launches) {
    if (launch.device !== undefined) return launch.device.system;
    for (const arg of launch.args) if (arg.kind === "buffer") return arg.buffer.device.system;
  }
  throw new SimulateError("name a device, or give a buffer: I cannot tell where to run");
}

export function launch(module: Module, kernel: string, how: Launch, options: SimulateOptions = {}): Report {
  return launchAll([{ ...how, module, kernel }], options);
}
