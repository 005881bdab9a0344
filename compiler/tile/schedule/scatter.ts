/**
 * The scatter schedule: one point a thread, stored where its target says. The output already holds the base (the
 * plan sees to it), so the base is no argument of the kernel; the other inputs are.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { ScatterNode } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { ceildiv, constant } from "../../types/dim.ts";
import * as t from "../build.ts";
import type { GlobalBuffer, TileProgram } from "../ir.ts";
import { constantOf, movedBytes, volume } from "./analysis.ts";
import { choiceOf, idleRefusals, type Choice, type Fixed, type Schedule } from "./choice.ts";
import { sweepCost, usualSize } from "./cost.ts";
import type { KernelSource } from "./source.ts";
import { translator } from "./translate.ts";

export function scatterSchedule(source: KernelSource<ScatterNode>, caps: Caps): Schedule {
  const { node } = source;
  const work = {
    rows: constantOf(volume(node.axes)) ?? usualSize,
    columns: 1,
    sweeps: 1,
    bytes: movedBytes(node, usualSize),
    reads: 0,
  };
  return {
    name: "scatter",
    isUsual: true,
    sides: [node.axes],
    choices: (fixed) => choicesOf(fixed, caps),
    refusals: (choice) => refusalsOf(choice, caps),
    cost: ({ threads }) =>
      sweepCost(work, { rows: threads, columns: 1, isHeld: true, accesses: 0, fetched: 1, threads }, caps),
    program: ({ threads }) => scatterProgram(source, threads),
  };
}

function choicesOf(fixed: Fixed, caps: Caps): Choice[] {
  const usual = Math.min(256, caps.maxThreads);
  const [points] = fixed.tile;
  const asked = fixed.threads ?? points;
  const counts =
    asked === undefined ? [usual, 128, 512].filter((count) => count <= caps.maxThreads) : [asked];
  return counts.map((threads) => choiceOf(fixed, { tile: [points ?? threads], threads }));
}

function refusalsOf(choice: Choice, caps: Caps): string[] {
  const {
    tile: [points = 0],
    threads,
  } = choice;
  const problems = idleRefusals(choice, ["threads"]);
  if (points !== threads)
    problems.push(`a thread writes one point here, so ${points} points take as many threads`);
  if (threads < 1 || threads > caps.maxThreads)
    problems.push(`${caps.target} has 1 to ${caps.maxThreads} threads a block, not ${threads}`);
  return problems;
}

export function scatterProgram(source: KernelSource<ScatterNode>, threads: number): TileProgram {
  const node = source.node;
  const b = new t.TileBuilder();
  const type = node.types[0];
  invariant(type !== undefined, "a scatter has one output");
  const inputs: (GlobalBuffer | undefined)[] = node.inputs.map((ref, k) => {
    if (k === 0) return undefined;
    const input = ref.node.types[ref.output];
    invariant(input !== undefined, "an input has a type");
    return b.buffer(source.inputNames[k] ?? `in${k}`, input.dtype, input.shape, "read");
  });
  const target = b.buffer(source.outputNames[0] ?? "out", type.dtype, type.shape, "read-write");

  const count = volume(node.axes);
  const blocks = b.counter("block", ceildiv(count, constant(threads)));
  const lane = b.threadAxis("point", threads, 1);
  const point = t.plus(t.times(t.at(blocks), t.int(threads)), t.along(lane));
  const known = constantOf(count);
  const inRange = known !== undefined && known % threads === 0 ? undefined : t.less(point, t.size(count));
  const axes = t.unflatten(
    point,
    node.axes.map((axis) => axis.extent),
  );
  // The value may read the base only through the output, which holds it.
  const translate = translator({ axes, carriers: [], inputs: inputs.map((buffer) => buffer ?? target) });
  return {
    name: source.name,
    summary: source.summary,
    threads,
    blocks: [blocks],
    buffers: b.buffers,
    shared: [],
    channels: [],
    body: [
      {
        kind: "store",
        buffer: target,
        index: node.target.map(translate),
        expr: translate(node.value),
        axes: [lane],
        where: t.both(inRange, translate(node.keep)),
        bounds: "drop",
      },
    ],
  };
}
