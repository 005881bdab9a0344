/**
 * The pipeline: source text to kernels and the plan that launches them, on one screen.
 *
 * Pure: files come from the host that the caller hands in, and nothing is written. The same request gives the same
 * bytes.
 */
import { checkProgram } from "./check/index.ts";
import { axisNames } from "./axis-names.ts";
import type { SourceHost } from "./check/files.ts";
import type { TypedFn, TypedProgram } from "./check/typed.ts";
import { createReport, type Diagnostic, type Place, type Report } from "./diagnostics/diagnostic.ts";
import { ambiguousEntry, tooLargeForTarget, unknownEntry, unknownTarget } from "./diagnostics/target.ts";
import { lowerTileProgram } from "./kernel/from-tile/lower.ts";
import type { Kernel } from "./kernel/ir.ts";
import { besideOthers, mayBeginEarly, type Neighbours } from "./kernel/passes/dependents.ts";
import { improve } from "./kernel/passes/index.ts";
import { printKernel } from "./kernel/print.ts";
import { verifyKernel } from "./kernel/verify.ts";
import { collectOps } from "./kernel/walk.ts";
import { packToldBy, type PackAxes } from "./lower/entry-pack.ts";
import type { DerivedCall } from "./lower/frame.ts";
import { lowerFunction, type ScaledType } from "./lower/lower.ts";
import { KernelNames } from "./names.ts";
import { costOf } from "./passes/cost.ts";
import { Explanation, type FusionReport } from "./passes/explain.ts";
import { forms } from "./passes/forms.ts";
import { checkPipelineProofs } from "./pipeline/index.ts";
import { explainedContraction, scaleFactors, type ExplainedContraction } from "./passes/scale-factors.ts";
import type { ScaledFactors } from "./tensor/block-scales.ts";
import { boundNotHeld } from "./diagnostics/lower.ts";
import { runPasses } from "./passes/pass.ts";
import { printSchedules, Scheduling, type PickChoice, type ScheduledKernel } from "./scheduling.ts";
import type { LaunchRequest, PlanValue } from "./plan/build-plan.ts";
import { buildPlan } from "./plan/build-plan.ts";
import type { Artifact } from "./plan/plan.ts";
import { assignStorage, type Program, type Step } from "./plan/storage.ts";
import { parseTarget, targetNames, type ChosenTarget } from "./targets/index.ts";
import { Arena } from "./tensor/arena.ts";
import { print as printGraph } from "./tensor/print.ts";
import { topological } from "./tensor/graphs.ts";
import type { Graph, LoopNode, Node, ScatterNode, TensorType } from "./tensor/ir.ts";
import type { GlobalBuffer, TileProgram } from "./tile/ir.ts";
import { print as printTiles } from "./tile/print.ts";
import { checkProtocol, violationText } from "./tile/protocol.ts";
import { schedule } from "./tile/schedule/choose.ts";
import type { KernelSource } from "./tile/schedule/source.ts";
import { verify as verifyTiles } from "./tile/verify.ts";
import { InternalError } from "./diagnostics/diagnostic.ts";
import type { Caps } from "./types/caps.ts";
import { add, constant, mul, one, type Dim } from "./types/dim.ts";
import type { Format } from "./types/dtype.ts";
import { fusedPasses, plainPasses } from "./tensor-passes.ts";
import { version } from "./version.ts";

export interface Source {
  /** Name of the file, for diagnostics and imports. */
  readonly file: string;
  readonly text: string;
}

export interface CheckRequest {
  readonly source: Source;
  /** Where imported files come from. */
  readonly host: SourceHost;
}

export interface CompileRequest extends CheckRequest {
  /** `attend`, or `Mla.decode`; undefined for the file's last function. */
  readonly entry: string | undefined;
  /** `ptx:sm_90a`, `cuda`, `wgsl`, `js`; undefined stops after the tensor level, which is all that the reference needs. */
  readonly target: string | undefined;
  /** Sizes that are known; others stay parameters of the kernels. */
  readonly dims: ReadonlyMap<string, number>;
  /** What dtype parameters stand for. */
  readonly dtypes: ReadonlyMap<string, Format | ScaledType>;
  /** What `...` of the entry's signature stands for: a size, or a name of one, for each axis. */
  readonly pack?: PackAxes | undefined;
  /** Shapes of inputs that are known: they tell what `...` stands for where `pack` does not. */
  readonly shapes?: ReadonlyMap<string, readonly number[]> | undefined;
  /** Whether to find out what became of each pair of nodes; it takes some time. */
  readonly explain?: boolean;
  /** Takes another of a kernel's choices than the cost model's first; pure. */
  readonly pick?: PickChoice;
}

export interface Checked {
  readonly diagnostics: readonly Diagnostic[];
  /** Texts of all files that diagnostics may point into, by name. */
  readonly sources: ReadonlyMap<string, string>;
}

export interface TraceStep {
  /** `lower`, `simplify`, `fuse`, .. for the whole graph; `tile`, `kernel` or `emit` for one kernel. */
  readonly pass: string;
  /** The program after it, in its textual form; printed when it is asked for. */
  readonly text: () => string;
}

/** What a request gives. Later parts are undefined where a diagnostic stopped the pipeline before them. */
export interface Compiled extends Checked {
  readonly program: TypedProgram | undefined;
  /** As lowered, which the interpreter runs. */
  readonly graph: { readonly arena: Arena; readonly graph: Graph } | undefined;
  /** As it goes to the schedules. */
  readonly fused: Graph | undefined;
  /** What became of each pair of nodes on the way, where the request asks for it. */
  readonly fusion: FusionReport | undefined;
  /** What became of the contractions whose factors `numerics` lets be scaled by block. */
  readonly contractions: readonly ExplainedContraction[];
  /** Calls of derived functions, where the request asks for it. */
  readonly derived: readonly DerivedCall[];
  readonly artifact: Artifact | undefined;
  /** How each kernel is computed, and how else it could be. */
  readonly schedules: readonly ScheduledKernel[];
  /** The tile program of each kernel, and the node of `fused` that it computes; a plain copy computes none. */
  readonly tiles: readonly { readonly node: Node | undefined; readonly program: TileProgram }[];
  readonly trace: readonly TraceStep[];
}

/** Checks a file and what it imports. */
export function check({
  source,
  host,
}: CheckRequest): Checked & { readonly program: TypedProgram | undefined } {
  const report = createReport();
  const sources = new Map([[source.file, source.text]]);
  const program = checkProgram({ ...source, host: remember(host, sources), report });
  if (program !== undefined) checkPipelineProofs(source.file, program.pipelines, report);
  return { program: report.failed ? undefined : program, diagnostics: report.diagnostics, sources };
}

export function compile(request: CompileRequest): Compiled {
  const report = createReport();
  const arena = new Arena();
  const { source } = request;
  const sources = new Map([[source.file, source.text]]);
  const trace: TraceStep[] = [];
  const ended = (parts: Partial<Compiled>): Compiled => ({
    program: undefined,
    graph: undefined,
    fused: undefined,
    fusion: undefined,
    contractions: [],
    derived: [],
    artifact: undefined,
    schedules: [],
    tiles: [],
    diagnostics: report.diagnostics,
    sources,
    trace,
    ...parts,
  });
  const target = request.target === undefined ? undefined : parseTarget(request.target);
  if (request.target !== undefined && target === undefined)
    report.add(unknownTarget(request.target, targetNames, source.file));

  const program = checkProgram({ ...source, host: remember(request.host, sources), report });
  if (program === undefined || report.failed) return ended({});
  const fn = findEntry(program, request.entry, report);
  if (fn === undefined) return ended({ program });

  const { dims, dtypes, shapes } = request;
  const pack = request.pack ?? (shapes === undefined ? undefined : packToldBy(fn, shapes));
  const asked = new Map<Node, ScaledFactors>();
  const derived: DerivedCall[] | undefined = request.explain === true ? [] : undefined;
  const lowered = lowerFunction(program, fn, {
    dims,
    dtypes,
    pack,
    arena,
    report,
    forms,
    derived,
    onScaled: (node, factors) => void asked.set(node, factors),
    locate: (place) => locationText(place, sources),
  });
  if (lowered === undefined || report.failed) return ended({ program });
  trace.push({ pass: "lower", text: () => printGraph(arena, lowered) });
  const { graph, decisions } = scaleFactors(arena, lowered, asked);
  if (graph !== lowered) trace.push({ pass: "scale-factors", text: () => printGraph(arena, graph) });
  const contractions = decisions.map((one): ExplainedContraction => explainedContraction(arena, one));
  for (const { node, why, isBound } of decisions)
    if (isBound && why !== undefined) report.add(boundNotHeld(arena.place(node) ?? fn.place, why));
  const note = (pass: string, text: () => string): void => void trace.push({ pass, text });
  const plain = runPasses(plainPasses, graph, { arena }, note);
  const explanation = request.explain === true ? new Explanation(arena, plain) : undefined;
  const scheduling =
    target === undefined ? undefined : new Scheduling(program, fn, target.caps, report, request.pick);
  const passes = fusedPasses(target?.caps, {
    decisions: explanation?.decisions,
    splits: scheduling?.splitOptions(),
  });
  const fused = runPasses(passes, plain, { arena }, note);
  const fusion = explanation?.report();
  const front = { program, graph: { arena, graph }, fused, fusion, contractions, derived: derived ?? [] };
  if (target === undefined || scheduling === undefined) return ended(front);

  const names = new KernelNames(arena, fused);
  const storage = assignStorage(fused, topological(fused), (ref) => names.value(ref));
  if (!fits(storage, target, fn, report)) return ended(front);
  const own: PlanValue[] = [];
  const tiles: Compiled["tiles"][number][] = [];
  const emitting: Emitting = {
    arena,
    names,
    target,
    trace,
    tiles,
    scheduling,
    isOnly: [...storage.preparation, ...storage.steps].filter(({ kind }) => kind !== "copy").length === 1,
    locate: (place) => lineOf(place, sources),
    own: ({ dtype, shape, use }) => {
      const id = storage.storages.length + own.length;
      own.push({ id, dtype, shape, inPlaceOf: undefined, isFlags: use === "flags" });
      return id;
    },
  };
  const preparation = storage.preparation.map((step) => launchOf(step, alone, emitting));
  const launches = storage.steps.map((step, k) => {
    const neighbours = { hasPredecessor: k > 0, hasSuccessor: k < storage.steps.length - 1 };
    return launchOf(step, neighbours, emitting);
  });
  scheduling.finish();
  trace.push({ pass: "schedule", text: () => printSchedules(scheduling) });
  if (report.failed) return ended(front);
  const planned = planOf(storage, graph, axisNames(fn, (pack ?? []).map(String)), target);
  const entry = fn.module === undefined ? fn.name : `${fn.module.name}.${fn.name}`;
  const artifact = buildPlan({
    ...planned,
    values: [...planned.values, ...own],
    compiler: version,
    program: `${source.file}:${entry}`,
    bound: dims,
    preparation,
    launches,
  });
  return ended({ ...front, artifact, schedules: scheduling.kernels, tiles });
}

/** Remembers the text of every file that is read, for places in messages and kernels. */
function remember(host: SourceHost, sources: Map<string, string>): SourceHost {
  return {
    read(path, from) {
      const found = host.read(path, from);
      if (found !== undefined) sources.set(found.file, found.text);
      return found;
    },
  };
}

/** `name` among the file's functions, or `Module.name` among a module's; the last one where none is asked for. */
function findEntry(program: TypedProgram, entry: string | undefined, report: Report): TypedFn | undefined {
  const all = [
    ...program.fns.map((fn) => ({ path: fn.name, fn })),
    ...program.modules.flatMap((module) =>
      module.fns.map((fn) => ({ path: `${module.name}.${fn.name}`, fn })),
    ),
  ];
  if (entry === undefined) {
    const last = all.reduce<(typeof all)[number] | undefined>(
      (a, b) => (a === undefined || b.fn.place.start > a.fn.place.start ? b : a),
      undefined,
    );
    if (last === undefined) report.add(unknownEntry("", [], program.file));
    return last?.fn;
  }
  const found = all.find(({ path }) => path === entry) ?? only(all.filter(({ fn }) => fn.name === entry));
  if (found !== undefined) return found.fn;
  const several = all.filter(({ fn }) => fn.name === entry).map(({ path }) => path);
  report.add(
    several.length > 1
      ? ambiguousEntry(entry, several, program.file)
      : unknownEntry(
          entry,
          all.map(({ path }) => path),
          program.file,
        ),
  );
  return undefined;
}

function only<T>(list: readonly T[]): T | undefined {
  return list.length === 1 ? list[0] : undefined;
}

// ---------------------------------------------------------------- kernels

interface Emitting {
  readonly arena: Arena;
  readonly names: KernelNames;
  readonly target: ChosenTarget;
  readonly trace: TraceStep[];
  readonly tiles: Compiled["tiles"][number][];
  /** A value for a buffer that is a kernel's own. */
  readonly own: (buffer: GlobalBuffer) => number;
  readonly scheduling: Scheduling;
  /** There is one kernel, which the function's name stands for. */
  readonly isOnly: boolean;
  readonly locate: (place: Place) => {
    readonly file: string;
    readonly line: number;
    readonly column: number;
  };
}

/** Preparation is run once: nothing is gained where its launches meet. */
const alone: Neighbours = { hasPredecessor: false, hasSuccessor: false };

/** One step to one kernel: schedule, lower, legalize, emit. */
function launchOf(step: Step, neighbours: Neighbours, cx: Emitting): LaunchRequest {
  const { target, caps } = cx.target;
  const node = step.kind === "copy" ? copyNode(cx.arena, step.from.type) : step.node;
  const name = step.kind === "copy" ? cx.names.unique(`copy_${step.to.name}`) : cx.names.kernel(node);
  const place = step.kind === "copy" ? undefined : cx.arena.place(node);
  const buffers = step.kind === "copy" ? [step.from, step.to] : step.buffers;
  const reads = node.kind === "scatter" ? node.inputs.slice(1) : node.inputs;
  const inputNames = step.kind === "copy" ? [step.from.name] : reads.map((ref) => cx.names.value(ref));
  const source: KernelSource = {
    arena: cx.arena,
    node,
    name,
    summary: step.kind === "copy" ? `${step.to.name} = ${step.from.name}` : cx.names.summary(node),
    inputNames: node.kind === "scatter" ? ["", ...inputNames] : inputNames,
    outputNames: buffers.slice(reads.length).map((storage) => storage.name),
    place: place === undefined ? undefined : cx.locate(place),
  };
  const tiles = step.kind === "copy" ? schedule(source, caps) : cx.scheduling.program(source, cx.isOnly);
  hold(verifyTiles(tiles), () => printTiles(tiles));
  const violation = checkProtocol(tiles);
  hold(violation === undefined ? [] : [violationText(violation)], () => printTiles(tiles));
  cx.tiles.push({ node: step.kind === "copy" ? undefined : step.node, program: tiles });
  cx.trace.push({ pass: "tile", text: () => printTiles(tiles) });
  const kernel = improve(lowerTileProgram(tiles, caps));
  hold(
    verifyKernel(kernel).map(({ message }) => message),
    () => printKernel(kernel),
  );
  cx.trace.push({ pass: "kernel", text: () => printKernel(kernel) });
  const legal = besideOthers(target.legalize(kernel, caps), neighbours, caps);
  const emitted = target.emit(legal, caps);
  cx.trace.push({ pass: "emit", text: () => emitted.text });
  const cost = costOf(node);
  return {
    kernel: legal,
    isEarly: mayBeginEarly(legal),
    emitted: { text: emitted.text, entry: emitted.entry, lines: emitted.lines, features: emitted.features },
    values: [
      ...buffers.map((storage) => storage.id),
      ...tiles.buffers.filter(({ use }) => use !== "tensor").map(cx.own),
    ],
    bytes: add(cost.read, cost.written),
    flops: cost.flops,
    roofline: { bandwidth: caps.bandwidth, flops: peakOf(legal, caps) },
  };
}

function hold(problems: readonly string[], text: () => string): void {
  if (problems.length > 0) throw new InternalError(`${problems.join("\n")}\n${text()}`);
}

/** FLOP/s of the unit that the kernel's products run on: matrix instructions by the width of their operands, else f32. */
function peakOf(kernel: Kernel, { flops }: Caps): number {
  const products = collectOps(kernel.body, "instruction").filter(({ name }) => /^(?:wg)?mma\.m/.test(name));
  if (products.length === 0) return flops.f32;
  if (products.some(({ name }) => name.includes("tf32"))) return flops.matrix32;
  return products.every(({ name }) => /e4m3|e5m2/.test(name)) ? flops.matrix8 : flops.matrix16;
}

/** A loop that copies a tensor. */
function copyNode(arena: Arena, type: TensorType): LoopNode | ScatterNode {
  const source = arena.ref(arena.input("source", "argument", type));
  const axes = type.shape.map((extent, k) => ({ name: `i${k}`, extent }));
  const inputs = [source];
  const value = arena.read(
    inputs,
    source,
    axes.map((_, k) => arena.axis(k)),
  );
  const plain = type.dtype === "f32" || value.type !== "f32" ? value : arena.round(type.dtype, value);
  return arena.loop({
    axes,
    inputs,
    results: [{ value: plain, dtype: type.dtype, axes: axes.map((_, k) => k) }],
  });
}

// ---------------------------------------------------------------- the plan

function planOf(
  storage: Program,
  graph: Graph,
  axes: ReadonlyMap<string, readonly string[]>,
  { target, caps }: ChosenTarget,
): Omit<Parameters<typeof buildPlan>[0], "compiler" | "program" | "bound" | "preparation" | "launches"> {
  const axesOf = (name: string, type: TensorType): readonly string[] => {
    const known = axes.get(name);
    return known?.length === type.shape.length ? known : type.shape.map((_, k) => `axis${k}`);
  };
  const states = storage.inputs.filter(({ input }) => graph.updates.some((update) => update.input === input));
  return {
    target: caps.target,
    extension: target.extension,
    dynamic: graph.dims,
    checks: [...graph.checks, ...indexChecks(storage, caps)],
    values: storage.storages.map(({ id, type }) => ({
      id,
      dtype: type.dtype,
      shape: type.shape,
      inPlaceOf: undefined,
    })),
    inputs: storage.inputs.map(({ input, storage: home }) => ({
      name: input.name,
      axes: axesOf(input.name, home.type),
      role: input.role,
      value: home.id,
    })),
    outputs: [
      ...storage.results.map(({ name, storage: home }) => ({
        name,
        axes: axesOf(name, home.type),
        role: "result" as const,
        value: home.id,
      })),
      ...states.map(({ input, storage: home }) => ({
        name: input.name,
        axes: axesOf(input.name, home.type),
        role: "state" as const,
        value: home.id,
      })),
    ],
  };
}

/** Elements that 32-bit indices reach. */
const index32 = 2 ** 31 - 1;

function elementsOf(type: TensorType): Dim {
  return type.shape.reduce<Dim>((product, extent) => mul(product, extent), one);
}

/** Where a target has 32-bit indices alone, sizes that are known only at launch are held to them then. */
function indexChecks(storage: Program, caps: Caps): Graph["checks"] {
  if (caps.index32Limit < Infinity) return [];
  return storage.storages.flatMap(({ type, name }) => {
    const elements = elementsOf(type);
    if (elements.kind === "const") return [];
    return [
      {
        left: elements,
        relation: "<=" as const,
        right: constant(index32),
        message: `'${name}' has more elements than this target's 32-bit indices reach`,
      },
    ];
  });
}

function fits(storage: Program, { caps }: ChosenTarget, fn: TypedFn, report: Report): boolean {
  if (caps.index32Limit < Infinity) return true;
  const large = storage.storages.find(({ type }) => {
    const elements = elementsOf(type);
    return elements.kind === "const" && elements.value > index32;
  });
  if (large !== undefined) report.add(tooLargeForTarget(large.name, caps.target, fn.place));
  return large === undefined;
}

// ---------------------------------------------------------------- places

function lineOf(
  place: Place,
  sources: ReadonlyMap<string, string>,
): { readonly file: string; readonly line: number; readonly column: number } {
  const before = (sources.get(place.file) ?? "").slice(0, place.start).split("\n");
  return { file: place.file, line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

function locationText(place: Place, sources: ReadonlyMap<string, string>): string {
  const { file, line, column } = lineOf(place, sources);
  return `${file}:${line}:${column}`;
}
