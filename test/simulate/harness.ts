/** What the tests of the simulator share: a short way to run a kernel, and to assemble one. */
import {
  createDevice,
  encodeTensorMap,
  launch,
  loadModule,
  type Buffer,
  type Device,
  type KernelArg,
  type Launch,
  type Module,
  type Report,
  type SimulateOptions,
  type TensorMapType,
} from "../../runtime/simulate/index.ts";
import { assemble as assembleText } from "../targets/ptx/tools.ts";

export const header = (target = "sm_90a"): string => `.version 8.5\n.target ${target}\n.address_size 64\n`;

/** A kernel around a body: one pointer `out` and one `in`, with the usual registers declared. */
export function kernel(
  body: string,
  options: { readonly target?: string; readonly declarations?: string; readonly module?: string } = {},
): string {
  return `${header(options.target)}
${options.module ?? ""}
.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .pred p<8>, q<8>;
  .reg .b16 h<32>;
  .reg .b32 r<64>, tid, lane, warp, block;
  .reg .b64 d<32>, in, out;
  .reg .f32 f<64>;
  .reg .f64 e<16>;
  ${options.declarations ?? ""}
  ld.param.u64 in, [pIn];
  ld.param.u64 out, [pOut];
  cvta.to.global.u64 in, in;
  cvta.to.global.u64 out, out;
  mov.u32 tid, %tid.x;
  and.b32 lane, tid, 31;
  shr.u32 warp, tid, 5;
  mov.u32 block, %ctaid.x;
  ${body}
  ret;
}
`;
}

export interface Run {
  readonly report: Report;
  readonly out: Uint8Array;
  readonly device: Device;
}

/** Runs `test` on the bytes of `input`; the output buffer has `outBytes`. */
export function run(
  ptx: string,
  input: ArrayBufferView,
  outBytes: number,
  how: Partial<Launch> = {},
  options: SimulateOptions = {},
): Run {
  const device = createDevice();
  const module = loadModule(ptx);
  const source = device.alloc(Math.max(16, input.byteLength), "in");
  device.write(source, input);
  const out = device.alloc(outBytes, "out");
  const report = launch(
    module,
    "test",
    { grid: [1, 1, 1], block: [32, 1, 1], args: [pointer(source), pointer(out)], ...how },
    options,
  );
  return { report, out: device.read(out), device };
}

export const pointer = (buffer: Buffer, offset = 0): KernelArg => ({ kind: "buffer", buffer, offset });
export const u32 = (value: number): KernelArg => ({ kind: "u32", value });
export const f32 = (value: number): KernelArg => ({ kind: "f32", value });

export const codes = (report: Report): string[] =>
  [...new Set(report.findings.map((finding) => finding.code))].sort();

/** Findings over a range of seeds. */
export function codesOverSeeds(seeds: number, once: (seed: number) => Report): Set<string> {
  const all = new Set<string>();
  for (let seed = 0; seed < seeds; seed++) for (const code of codes(once(seed))) all.add(code);
  return all;
}

/** What ptxas says of the text; undefined when it assembles it without a word. */
export function assemble(ptx: string): string | undefined {
  const target = /\.target\s+(\w+)/.exec(ptx)?.[1] ?? "sm_90a";
  const { complaints } = assembleText(ptx, target);
  return complaints.length === 0 ? undefined : complaints.join("\n");
}

/** A kernel of kernels.mjs. */
export interface Sample {
  readonly name: string;
  readonly ptx: string;
  readonly grid: number;
  readonly block: number;
  readonly cluster?: number;
  readonly shared?: number;
  readonly args: readonly SampleArg[];
  readonly check: (outputs: readonly Uint8Array[]) => void;
}

export interface SampleArg {
  readonly in?: ArrayBufferView;
  readonly out?: number;
  readonly u32?: number;
  readonly f32?: number;
  /** An argument that only a tensor map points to. */
  readonly hidden?: boolean;
  /** A tensor map that the kernel does not read with. */
  readonly unused?: boolean;
  /** An input that the kernel writes too, and whose bytes are checked. */
  readonly written?: boolean;
  readonly map?: {
    readonly of: number;
    readonly type: TensorMapType;
    readonly dims: readonly number[];
    readonly strides: readonly number[];
    readonly box: readonly number[];
    readonly swizzle: 0 | 32 | 64 | 128;
  };
}

/** Loads, launches and reads back; outputs are those of `out` and written arguments, in order. */
export function runSample(
  sample: Sample,
  options: SimulateOptions = {},
  ptx: string = sample.ptx,
  module: Module = loadModule(ptx),
  entry = "test",
): { readonly report: Report; readonly outputs: Uint8Array[] } {
  const device = createDevice();
  const buffers = sample.args.map((arg) => {
    if (arg.in !== undefined) {
      const buffer = device.alloc(arg.in.byteLength);
      device.write(buffer, arg.in);
      return buffer;
    }
    return arg.out === undefined ? undefined : device.alloc(arg.out);
  });
  const args = sample.args.flatMap((arg, i): KernelArg[] => {
    if (arg.hidden === true) return [];
    if (arg.u32 !== undefined) return [u32(arg.u32)];
    if (arg.map !== undefined) {
      const { of, ...map } = arg.map;
      return [
        { kind: "bytes", bytes: encodeTensorMap({ ...map, address: buffers[of]!.address, fill: "zero" }) },
      ];
    }
    return [pointer(buffers[i]!)];
  });
  const { grid, block, cluster = 1, shared = 0 } = sample;
  const report = launch(
    module,
    entry,
    { grid: [grid, 1, 1], block: [block, 1, 1], cluster: [cluster, 1, 1], sharedBytes: shared, args, device },
    options,
  );
  const outputs = sample.args.flatMap((arg, i) =>
    arg.out !== undefined || arg.written === true ? [device.read(buffers[i]!)] : [],
  );
  return { report, outputs };
}
