/** What the tests of the simulator share: a short way to run a kernel, and ptxas where it is installed. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDevice, launch, loadModule, type Buffer, type Device, type KernelArg, type Launch, type Report, type SimulateOptions } from "../../runtime/simulate/index.ts";

export const header = (target = "sm_90a"): string => `.version 8.5\n.target ${target}\n.address_size 64\n`;

/** A kernel around a body: one pointer `out` and one `in`, with the usual registers declared. */
export function kernel(body: string, options: { readonly target?: string; readonly declarations?: string; readonly module?: string } = {}): string {
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
export function run(ptx: string, input: ArrayBufferView, outBytes: number, how: Partial<Launch> = {}, options: SimulateOptions = {}): Run {
  const device = createDevice();
  const module = loadModule(ptx);
  const source = device.alloc(Math.max(16, input.byteLength), "in");
  device.write(source, input);
  const out = device.alloc(outBytes, "out");
  const report = launch(module, "test", { grid: [1, 1, 1], block: [32, 1, 1], args: [pointer(source), pointer(out)], ...how }, options);
  return { report, out: device.read(out), device };
}

export const pointer = (buffer: Buffer, offset = 0): KernelArg => ({ kind: "buffer", buffer, offset });
export const u32 = (value: number): KernelArg => ({ kind: "u32", value });
export const f32 = (value: number): KernelArg => ({ kind: "f32", value });

export const codes = (report: Report): string[] => [...new Set(report.findings.map((finding) => finding.code))].sort();

/** Findings over a range of seeds. */
export function codesOverSeeds(seeds: number, once: (seed: number) => Report): Set<string> {
  const all = new Set<string>();
  for (let seed = 0; seed < seeds; seed++) for (const code of codes(once(seed))) all.add(code);
  return all;
}

let ptxas: string | undefined | null = null;

/** The path of ptxas, or undefined where there is none. */
export function findPtxas(): string | undefined {
  if (ptxas === null) {
    try {
      ptxas = execFileSync("which", ["ptxas"], { encoding: "utf8" }).trim();
    } catch {
      ptxas = undefined;
    }
  }
  return ptxas;
}

/** What ptxas says of the text; undefined when it assembles it without a word. */
export function assemble(ptx: string): string | undefined {
  const path = findPtxas();
  if (path === undefined) throw new Error("ptxas is not installed");
  const folder = mkdtempSync(join(tmpdir(), "ptx-"));
  const file = join(folder, "text.ptx");
  writeFileSync(file, ptx);
  const target = /\.target\s+(\w+)/.exec(ptx)![1]!;
  const result = spawnSync(path, [`-arch=${target}`, file, "-o", join(folder, "out.cubin")], { encoding: "utf8" });
  const text = `${result.stdout}${result.stderr}`.trim();
  return text === "" && result.status === 0 ? undefined : text;
}
