/**
 * Copies of boxes of a tensor map by the copy engine (PTX ISA 9.7.9.25.5, "cp.async.bulk.tensor").
 *
 * Coordinates count elements along the map's dims, slowest first as those; what lies outside of the tensor reads as
 * zero and is not written. A load's bytes are counted by an mbarrier, all of the box's wherever it lies. A thread's
 * stores go in groups: `bulk.wait.read.N` waits until all but its youngest N have been read from shared memory,
 * `bulk.wait.N` until they are written.
 */
import type { Operand } from "../ir.ts";
import { isMap } from "../walk.ts";
import type { Instruction, PtxInstruction, OperandType, Warp } from "./instruction.ts";
import { checkMbarrier } from "./mbarrier.ts";

const needs: PtxInstruction["needs"] = { sm: 90, isa: [8, 0] };
const common = { needs, results: [], destinations: "defined", scope: "thread" } as const;
const place = "the box begins at a multiple of 128 bytes, of 8 rows where it is swizzled";

export const tensorCopyInstructions: readonly Instruction[] = [
  ...[1, 2, 3, 4, 5].flatMap((rank) => [load(rank), store(rank), loadToAll(rank, 2), prefetch(rank)]),
  group("bulk.commit", "cp.async.bulk.commit_group", (warp, lane) => warp.engines.commitStores(lane)),
  ...Array.from({ length: 8 }, (_, pending) => [
    group(`bulk.wait.${pending}`, `cp.async.bulk.wait_group ${pending}`, (warp, lane) =>
      warp.engines.waitStores(lane, pending, "written"),
    ),
    group(`bulk.wait.read.${pending}`, `cp.async.bulk.wait_group.read ${pending}`, (warp, lane) =>
      warp.engines.waitStores(lane, pending, "read"),
    ),
  ]).flat(),
  {
    ...common,
    name: "tensormap.prefetch",
    section: "9.7.9.15",
    operands: ["map"],
    precondition: "none",
    align: 1,
    evaluate: () => undefined,
    ptx: (_, [map = ""]) => `prefetch.tensormap [${map}]`,
  },
];

function load(rank: number): Instruction {
  return {
    ...common,
    name: `tensor.load.${rank}d`,
    section: "9.7.9.25.5.2",
    operands: ["shared", "map", ...coordinates(rank), "shared"],
    precondition: `${place}; the last place is an mbarrier`,
    check: (operands) => checkRank(operands[1], rank) ?? checkMbarrier(operands.at(-1)),
    align: 128,
    evaluate: (warp) => {
      for (const lane of warp.active)
        warp.engines.load({
          lane,
          shared: 0,
          map: 1,
          coordinates: numbers(warp, 2, rank, lane),
          barrier: 2 + rank,
        });
    },
    ptx: (_, [to = "", map = "", ...rest]) =>
      `cp.async.bulk.tensor.${rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes ${to}, ${box(map, rest.slice(0, rank))}, ${rest[rank] ?? ""}`,
  };
}

/** To the same place in each of a cluster's blocks, whose own mbarriers count the bytes. */
function loadToAll(rank: number, blocks: number): Instruction {
  const one = load(rank);
  return {
    ...one,
    name: `${one.name}.cluster.${blocks}`,
    precondition: `${one.precondition}, one of each block's`,
    evaluate: (warp) => {
      for (const lane of warp.active)
        warp.engines.load({
          lane,
          shared: 0,
          map: 1,
          coordinates: numbers(warp, 2, rank, lane),
          barrier: 2 + rank,
          blocks,
        });
    },
    ptx: (_, [to = "", map = "", ...rest]) =>
      `{ .reg .b16 blocks; mov.b16 blocks, ${2 ** blocks - 1}; cp.async.bulk.tensor.${rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster ${to}, ${box(map, rest.slice(0, rank))}, ${rest[rank] ?? ""}, blocks; }`,
  };
}

/** To the second-level cache; nobody waits for it. */
function prefetch(rank: number): Instruction {
  return {
    ...common,
    name: `tensor.prefetch.${rank}d`,
    section: "9.7.9.25.5.4",
    operands: ["map", ...coordinates(rank)],
    precondition: "none",
    check: (operands) => checkRank(operands[0], rank),
    align: 1,
    evaluate: () => undefined,
    ptx: (_, [map = "", ...at]) => `cp.async.bulk.prefetch.tensor.${rank}d.L2.global.tile ${box(map, at)}`,
  };
}

function store(rank: number): Instruction {
  return {
    ...common,
    name: `tensor.store.${rank}d`,
    section: "9.7.9.25.5.2",
    operands: ["map", ...coordinates(rank), "shared"],
    precondition: place,
    check: (operands) => checkRank(operands[0], rank),
    align: 128,
    evaluate: (warp) => {
      for (const lane of warp.active)
        warp.engines.store({
          lane,
          map: 0,
          coordinates: numbers(warp, 1, rank, lane),
          shared: 1 + rank,
        });
    },
    ptx: (_, [map = "", ...rest]) =>
      `cp.async.bulk.tensor.${rank}d.global.shared::cta.tile.bulk_group ${box(map, rest.slice(0, rank))}, ${rest[rank] ?? ""}`,
  };
}

function coordinates(rank: number): readonly OperandType[] {
  return Array<OperandType>(rank).fill("i32");
}

function numbers(warp: Warp, first: number, rank: number, lane: number): readonly number[] {
  return Array.from({ length: rank }, (_, k) => warp.operand(first + k, lane));
}

/** PTX has the innermost coordinate first. */
function box(map: string, at: readonly string[]): string {
  return `[${map}, {${at.toReversed().join(", ")}}]`;
}

function checkRank(operand: Operand | undefined, rank: number): string | undefined {
  if (operand === undefined || !isMap(operand)) return undefined;
  const { name, dims } = operand.map;
  return dims.length === rank ? undefined : `map ${name} has ${dims.length} dims`;
}

function group(name: string, ptx: string, run: (warp: Warp, lane: number) => void): Instruction {
  return {
    ...common,
    name,
    section: "9.7.9.25.4",
    operands: [],
    precondition: "none",
    align: 1,
    evaluate: (warp) => {
      for (const lane of warp.active) run(warp, lane);
    },
    ptx: () => ptx,
  };
}
