/** Runs kernels by the interpreter, as emitted JavaScript, and as emitted WGSL, on the same bytes. */
import { interpretKernel } from "../../compiler/kernel/interpret.ts";
import type { Buffer, Kernel } from "../../compiler/kernel/ir.ts";
import { legalize } from "../../compiler/kernel/legalize/index.ts";
import { decodeFloat, isSmallFloat, storageFormat } from "../../compiler/kernel/small-float.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { jsCaps } from "../../compiler/targets/js/caps.ts";
import { emitJs } from "../../compiler/targets/js/emit.ts";
import { emitWgsl } from "../../compiler/targets/wgsl/emit.ts";
import type { Caps } from "../../compiler/types/caps.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import type { Gpu } from "../targets/wgsl/gpu.ts";

export interface KernelRun {
  readonly kernel: Kernel;
  readonly buffers: readonly Uint8Array[];
  readonly sizes: readonly number[];
  readonly grid: readonly [number, number, number];
}

export function globalBuffers(kernel: Kernel): readonly Buffer[] {
  return kernel.buffers.filter((buffer) => buffer.space === "global");
}

function padded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(Math.max(8, Math.ceil(bytes.length / 8) * 8));
  copy.set(bytes);
  return copy;
}

/** Throws where the kernel breaks a rule of the IR. */
export function checkKernel(kernel: Kernel): void {
  const found = verifyKernel(kernel);
  if (found.length > 0) throw new Error(found.map(({ message }) => message).join("\n"));
}

export function runInterpreted(run: KernelRun, subgroup = 32): readonly Uint8Array[] {
  checkKernel(run.kernel);
  const buffers = run.buffers.map((bytes) => bytes.slice());
  interpretKernel(run.kernel, { buffers, sizes: run.sizes, grid: run.grid, subgroup });
  return buffers;
}

/** The legal kernel, interpreted: tells a wrong rewrite from a wrong spelling. */
export function runLegalized(run: KernelRun, caps: Caps): readonly Uint8Array[] {
  const legal = legalize(run.kernel, caps);
  const words = runInterpreted({ ...run, kernel: legal, buffers: run.buffers.map(padded) });
  return words.map((bytes, k) => bytes.slice(0, run.buffers[k]?.length ?? 0));
}

const arrayOf = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  e4m3: Uint8Array,
  e5m2: Uint8Array,
  i64: BigInt64Array,
  i32: Int32Array,
  u32: Uint32Array,
  i8: Uint8Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const;

type JsKernel = (
  buffers: readonly unknown[],
  sizes: readonly number[],
  x: number,
  y: number,
  z: number,
) => void;

export async function loadJs(kernel: Kernel): Promise<{ readonly run: JsKernel; readonly text: string }> {
  const legal = legalize(kernel, jsCaps);
  checkKernel(legal);
  const { text, entry } = emitJs(legal);
  const url = `data:text/javascript;base64,${base64(text)}`;
  const module = (await import(/* @vite-ignore */ url)) as Readonly<Record<string, JsKernel>>;
  const run = module[entry];
  if (run === undefined) throw new Error(`the module has no ${entry}`);
  return { run, text };
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

export async function runJs(run: KernelRun): Promise<readonly Uint8Array[]> {
  const buffers = run.buffers.map(padded);
  const loaded = await loadJs(run.kernel);
  const arrays = globalBuffers(run.kernel).map((buffer, k) => {
    const bytes = buffers[k] ?? new Uint8Array(new ArrayBuffer(0));
    return new arrayOf[buffer.dtype](
      bytes.buffer,
      0,
      (run.buffers[k]?.length ?? 0) / dtypes[buffer.dtype].bytes,
    );
  });
  loaded.run(arrays, run.sizes, ...run.grid);
  return buffers.map((bytes, k) => bytes.slice(0, run.buffers[k]?.length ?? 0));
}

export async function runWgsl(run: KernelRun, caps: Caps, gpu: Gpu): Promise<readonly Uint8Array[]> {
  const legal = legalize(run.kernel, caps);
  checkKernel(legal);
  const { text, entry } = emitWgsl(legal);
  const access = globalBuffers(legal).map(
    (buffer) => (buffer.access === "read" ? "read" : "storage") as "read" | "storage",
  );
  const result = await gpu.run({
    text,
    entry,
    access: legal.sizes.length > 0 ? [...access, "uniform"] : access,
    run: { buffers: run.buffers.map(padded), sizes: run.sizes, grid: run.grid },
  });
  return result.map((bytes, k) => bytes.slice(0, run.buffers[k]?.length ?? 0));
}

/** What two runs may not differ in: bits, but for the payload of a NaN and the sign of a zero. */
export function comparable(
  kernel: Kernel,
  results: readonly Uint8Array[],
): readonly (readonly (number | bigint)[])[] {
  return globalBuffers(kernel).map((buffer, k) => {
    const bytes = (results[k] ?? new Uint8Array(0)).slice();
    const { dtype } = buffer;
    const array: readonly (number | bigint)[] = Array.from<number | bigint>(
      new arrayOf[dtype](bytes.buffer, 0, bytes.length / dtypes[dtype].bytes),
    );
    if (dtype === "f32") return array.map((x) => (x === 0 ? 0 : x));
    if (!isSmallFloat(dtype)) return array;
    return array.map((code) => {
      const value = decodeFloat(storageFormat(dtype), Number(code));
      return value === 0 ? 0 : value;
    });
  });
}
