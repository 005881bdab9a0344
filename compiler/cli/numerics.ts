/** Makes the numerics report of a program: compiled for a device, run there, and held against its bounds. */
import type { Device } from "../../runtime/device.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import { toNumbers } from "../../runtime/tensor/values.ts";
import { InternalError } from "../diagnostics/diagnostic.ts";
import {
  analyze,
  batchDims,
  batchReport,
  orderOfSums,
  reportOf,
  runsReport,
  triedSizes,
  type BatchReport,
  type NumericsReport,
} from "../numerics/index.ts";
import { parseTarget } from "../targets/index.ts";
import { interpret } from "../tensor/interpret.ts";
import type { Caps } from "../types/caps.ts";
import type { Compiled, CompileRequest, CompilerApi } from "./api.ts";

export interface NumericsRequest {
  readonly program: string;
  readonly api: Pick<CompilerApi, "compile">;
  readonly request: CompileRequest;
  /** What the request gave, without errors. */
  readonly compiled: Compiled;
  readonly device: Device;
  readonly inputs: ReadonlyMap<string, HostTensor>;
  readonly dims: ReadonlyMap<string, number>;
  readonly confidence: number;
}

/** Throws `DeviceError` or `InterpretError` for inputs that the program does not take. */
export async function numericsOf(asked: NumericsRequest): Promise<NumericsReport> {
  const { program, compiled, device, inputs, dims, confidence } = asked;
  const { graph: written, fused, artifact, tiles } = compiled;
  const target = device.targets[0] ?? "";
  const caps = parseTarget(target)?.caps;
  if (written === undefined || fused === undefined || artifact === undefined || caps === undefined)
    throw new InternalError("the compiler made no plan and gave no diagnostic");
  const { arena } = written;
  const analysis = analyze({ arena, graph: fused, tiles, caps, inputs, dims, confidence });
  const expected = interpret(arena, written.graph, inputs, dims);
  const found = await runOn(device, artifact, inputs);
  const numbers = (tensor: HostTensor | undefined, name: string): ArrayLike<number> => {
    if (tensor === undefined) throw new InternalError(`there is no result '${name}'`);
    return toNumbers(tensor);
  };
  return reportOf(
    {
      program,
      device: device.description,
      target,
      dims: Object.fromEntries(dims),
      confidence,
      reproducible: { runs: runsReport, batches: batchesOf(asked, caps) },
    },
    analysis,
    (name) => ({
      found: numbers(found.get(name), name),
      expected: numbers(expected.results.get(name) ?? expected.updates.get(name), name),
    }),
  );
}

async function runOn(
  device: Device,
  artifact: NonNullable<Compiled["artifact"]>,
  inputs: ReadonlyMap<string, HostTensor>,
): Promise<ReadonlyMap<string, HostTensor>> {
  // The plan takes what its kernels read: an input that nothing reads is the graph's alone.
  const names = new Set(artifact.plan.inputs.map((input) => input.name));
  const loaded = await device.load(artifact);
  const given = new Map([...inputs].filter(([name]) => names.has(name)));
  const { outputs } = await loaded.run(given, { keep: false, time: false });
  loaded.free();
  const found = new Map<string, HostTensor>();
  for (const [name, tensor] of outputs) found.set(name, "device" in tensor ? await tensor.read() : tensor);
  return found;
}

/** For each size that is no sum's, whether other sizes keep the order of the sums. */
function batchesOf({ api, request, compiled, dims }: NumericsRequest, caps: Caps): readonly BatchReport[] {
  const graph = compiled.graph?.graph;
  if (graph === undefined) return [];
  return batchDims(graph).flatMap((dim) => {
    const size = dims.get(dim);
    if (size === undefined || !request.dims.has(dim)) return [];
    const own = { size, orders: ordersOf(compiled, caps, dims) };
    const tried = triedSizes.flatMap((other) => {
      if (other === size) return [];
      const sizes = new Map([...request.dims, [dim, other]]);
      const again = api.compile({ ...request, dims: sizes });
      // A size that the program refuses is none that a batch can have.
      if (again.artifact === undefined) return [];
      return [{ size: other, orders: ordersOf(again, caps, new Map([...dims, [dim, other]])) }];
    });
    return [batchReport(dim, own, tried)];
  });
}

function ordersOf({ tiles }: Compiled, caps: Caps, dims: ReadonlyMap<string, number>): readonly string[] {
  return tiles.flatMap(({ program }) => orderOfSums(program, caps, dims) ?? []);
}
