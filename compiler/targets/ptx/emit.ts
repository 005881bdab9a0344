/** A kernel as PTX text: the head, the registers, then op by op. */
import { ptxInstructionOf } from "../../kernel/instructions.ts";
import type { Buffer, Caps, Kernel, Kind, Op, TensorMap } from "../../kernel/ir.ts";
import { sharedBytesOf, sharedLayout, sizeTypes } from "../../kernel/launch.ts";
import { collectOps } from "../../kernel/walk.ts";
import { printDim } from "../../types/dim-text.ts";
import { type Emitted, type EmittedLine, Names, Writer } from "../writer.ts";
import { emitBinary, emitFma, emitSelect, emitUnary } from "./arithmetic.ts";
import { Context } from "./context.ts";
import * as control from "./control.ts";
import { emitBitcast, emitConvert, emitPack, emitUnpack } from "./convert.ts";
import { emitDescriptor } from "./descriptor.ts";
import { emitAtomic, emitLoad, emitStore } from "./memory.ts";
import type { RegisterClass } from "./registers.ts";
import { emitBarrier, emitRoles } from "./roles.ts";

type EmitTable = { readonly [K in Kind]: (op: Op<K>, cx: Context) => void };

const axes = ["x", "y", "z"] as const;

const dynamicArray = "shared_memory";

const table: EmitTable = {
  const: () => undefined,
  size: emitSize,
  thread: (op, cx) => cx.instruction(`mov.u32 ${cx.define(op.dst)}, %tid.x`),
  lane: (op, cx) => cx.instruction(`mov.u32 ${cx.define(op.dst)}, %laneid`),
  // %warpid may change while a thread runs (PTX ISA 10.4), so the number is made of the thread's.
  subgroup: (op, cx) => {
    const thread = cx.temporary("b32", "thread");
    cx.instruction(`mov.u32 ${thread}, %tid.x`);
    cx.instruction(`shr.u32 ${cx.define(op.dst)}, ${thread}, 5`);
  },
  block: (op, cx) => cx.instruction(`mov.u32 ${cx.define(op.dst)}, %ctaid.${axes[op.axis]}`),
  unary: emitUnary,
  binary: emitBinary,
  fma: emitFma,
  select: emitSelect,
  convert: emitConvert,
  bitcast: emitBitcast,
  pack: emitPack,
  unpack: emitUnpack,
  var: control.emitVar,
  get: control.emitGet,
  set: control.emitSet,
  load: emitLoad,
  store: emitStore,
  atomic: emitAtomic,
  barrier: emitBarrier,
  "shuffle-xor": control.emitShuffleXor,
  "shuffle-index": control.emitShuffleIndex,
  instruction: control.emitInstruction,
  descriptor: emitDescriptor,
  roles: (op, cx) => emitRoles(op, cx, emitBody),
  for: (op, cx) => control.emitFor(op, cx, emitBody),
  if: (op, cx) => control.emitIf(op, cx, emitBody),
  line: (op, cx) => {
    cx.out.at(`${cx.kernel.files[op.file] ?? "?"}:${op.line}:${op.column}`);
    cx.comment(`.loc ${cx.fileNumber(op.file)} ${op.line} ${op.column}`);
  },
  comment: (op, cx) => cx.comment(`// ${oneLine(op.text)}`),
};

/** A size that is read as i64 somewhere is handed over as one, and narrowed where it is read as i32. */
function emitSize(op: Op<"size">, cx: Context): void {
  const isWide = sizeTypes(cx.kernel)[op.param] === "i64";
  if (isWide && op.dst.type === "i32")
    cx.instruction(`cvt.u32.u64 ${cx.define(op.dst)}, ${cx.size(op.param)}`);
  else cx.alias(op.dst, cx.size(op.param));
}

function emitOp<K extends Kind>(op: Op<K>, cx: Context): void {
  table[op.kind](op, cx);
}

function emitBody(ops: readonly Op[], cx: Context): void {
  for (const op of ops) emitOp(op, cx);
}

/** One kernel, as a file. */
export function emitPtx(kernel: Kernel, caps: Caps): Emitted {
  const out = new Writer("");
  const entry = entryName(kernel);
  const files = emitPreamble(out, [kernel], caps);
  const lines = emitKernel(out, new Context(kernel, caps, files), entry);
  return { text: out.text(), entry, lines, features: [] };
}

/** Several kernels in one module; their names differ. */
export function emitPtxModule(kernels: readonly Kernel[], caps: Caps): string {
  const out = new Writer("");
  const files = emitPreamble(out, kernels, caps);
  for (const kernel of kernels) emitKernel(out, new Context(kernel, caps, files), entryName(kernel));
  return out.text();
}

function entryName(kernel: Kernel): string {
  return new Names([dynamicArray]).fresh(kernel.name);
}

/** Gives the files back in the order of their numbers. */
function emitPreamble(out: Writer, kernels: readonly Kernel[], caps: Caps): readonly string[] {
  const architecture = caps.target.slice(caps.target.indexOf(":") + 1);
  out.line(`.version ${version(kernels, architecture)}`);
  out.line(`.target ${architecture}`);
  out.line(".address_size 64");
  out.line("");
  const files = [...new Set(kernels.flatMap((kernel) => kernel.files))];
  for (const [i, file] of files.entries()) out.line(`.file ${i + 1} "${fileName(file)}"`);
  if (files.length > 0) out.line("");
  emitDynamicArray(out, kernels);
  return files;
}

/** Dynamic shared memory has no size of its own, and is declared outside of the kernels that have some. */
function emitDynamicArray(out: Writer, kernels: readonly Kernel[]): void {
  const buffers = kernels
    .map((kernel) => sharedLayout(kernel))
    .filter(({ kind }) => kind === "dynamic")
    .flatMap(({ offsets }) => [...offsets.keys()]);
  if (buffers.length === 0) return;
  const align = Math.max(16, ...buffers.map((buffer) => buffer.align));
  out.line(`.extern .shared .align ${align} .b8 ${dynamicArray}[];`);
  out.line("");
}

/** The oldest that has what the kernels use, since an older driver may have to read it. */
function version(kernels: readonly Kernel[], architecture: string): string {
  const least = architecture === "sm_90a" ? 800 : 708;
  const used = kernels
    .flatMap((kernel) => collectOps(kernel.body, "instruction"))
    .map((op) => ptxInstructionOf(op.name).needs.isa);
  const needed = Math.max(least, ...used.map(([major, minor]) => major * 100 + minor));
  return `${Math.floor(needed / 100)}.${needed % 100}`;
}

function emitKernel(out: Writer, cx: Context, entry: string): readonly EmittedLine[] {
  const { kernel } = cx;
  const parameters = emitParameters(cx);
  emitSharedPointers(cx);
  emitBody(kernel.body, cx);
  cx.instruction("ret");

  emitHead(out, kernel);
  out.line(`.visible .entry ${entry}(`);
  for (const [i, { text, comment }] of parameters.entries()) {
    out.line(`    ${text}${i + 1 < parameters.length ? "," : ""}  // ${comment}`);
  }
  out.line(")");
  out.line(`.maxntid ${kernel.threads}, 1, 1`);
  if (kernel.resident !== undefined) out.line(`.minnctapersm ${kernel.resident}`);
  if (kernel.cluster !== undefined) out.line(`.reqnctapercluster ${kernel.cluster}, 1, 1`);
  out.line("{");
  emitShared(out, cx);
  for (const [name, registers] of cx.declared()) emitDeclarations(out, name, registers);
  out.line("");
  const before = out.text().split("\n").length - 1;
  for (const line of cx.out.text().trimEnd().split("\n")) out.line(line);
  out.line("}");
  out.line("");
  return cx.out.sources().map(({ line, source }) => ({ line: line + before, source }));
}

function emitHead(out: Writer, kernel: Kernel): void {
  const { bytes } = sharedLayout(kernel);
  const grid = oneLine(kernel.grid.map((dim) => printDim(dim)).join(" x "));
  out.line(`// ${oneLine(kernel.summary)}`);
  out.line(
    `// ${grid} blocks of ${kernel.threads} threads${bytes === 0 ? "" : `, ${bytes} bytes of shared memory`}`,
  );
}

interface Parameter {
  readonly text: string;
  readonly comment: string;
}

/** Buffers, then sizes, then maps; each is loaded once, at the start, and a map's address taken. */
function emitParameters(cx: Context): readonly Parameter[] {
  const buffers = cx.kernel.buffers.filter((buffer) => buffer.space === "global");
  const types = sizeTypes(cx.kernel);
  const loads: (() => void)[] = [];
  const pointers = buffers.map((buffer): Parameter => {
    const name = cx.symbol(buffer.name);
    loads.push(() => {
      const pointer = cx.temporary("b64", `${buffer.name}_ptr`);
      cx.instruction(`ld.param.u64 ${pointer}, [${name}]`);
      cx.setPointer(buffer, pointer);
    });
    return {
      text: `.param .u64 .ptr .global .align ${buffer.align} ${name}`,
      comment: `${describe(buffer)}, ${buffer.access}`,
    };
  });
  const sizes = cx.kernel.sizes.map((size, param): Parameter => {
    const name = cx.symbol(size.name);
    const isWide = types[param] === "i64";
    loads.push(() => {
      const register = cx.temporary(isWide ? "b64" : "b32", size.name);
      cx.instruction(`ld.param.${isWide ? "s64" : "s32"} ${register}, [${name}]`);
      cx.addSize(register);
    });
    return { text: `.param .${isWide ? "s64" : "s32"} ${name}`, comment: oneLine(printDim(size.dim)) };
  });
  const maps = cx.kernel.maps.map((map): Parameter => {
    const name = cx.symbol(`${map.name}_map`);
    loads.push(() => {
      const address = cx.temporary("b64", name);
      cx.instruction(`mov.b64 ${address}, ${name}`);
      cx.instruction(`cvta.param.u64 ${address}, ${address}`);
      cx.setMap(map, address);
    });
    return { text: `.param .align 64 .b8 ${name}[128]`, comment: describeMap(map) };
  });
  for (const load of loads) load();
  return [...pointers, ...sizes, ...maps];
}

function describe(buffer: Buffer): string {
  return oneLine(`${buffer.dtype}[${printDim(buffer.length)}]`);
}

function describeMap({ buffer, dims, box, swizzle }: TensorMap): string {
  const how = swizzle === 0 ? "" : `, swizzled by ${swizzle} bytes`;
  const extents = dims.map((dim) => printDim(dim)).join(", ");
  return oneLine(`${buffer.dtype}[${extents}] of ${buffer.name} in boxes of ${box.join(" x ")}${how}`);
}

function emitSharedPointers(cx: Context): void {
  const { offsets, kind } = sharedLayout(cx.kernel);
  for (const [buffer, offset] of offsets) {
    const pointer = cx.temporary("b32", `${buffer.name}_ptr`);
    const symbol =
      kind === "dynamic" ? `${dynamicArray}${offset === 0 ? "" : `+${offset}`}` : cx.sharedName(buffer);
    cx.instruction(`mov.u32 ${pointer}, ${symbol}`);
    cx.setPointer(buffer, pointer);
  }
}

function emitShared(out: Writer, cx: Context): void {
  const { offsets, kind } = sharedLayout(cx.kernel);
  for (const [buffer, offset] of offsets) {
    const declared = `.shared .align ${Math.max(buffer.align, 16)} .b8 ${cx.sharedName(buffer)}[${sharedBytesOf(buffer)}];`;
    out.line(
      kind === "dynamic"
        ? `    // ${cx.sharedName(buffer)} at ${offset}: ${describe(buffer)}`
        : `    ${declared}  // ${describe(buffer)}`,
    );
  }
}

const widest = 110;

function emitDeclarations(out: Writer, name: RegisterClass, registers: readonly string[]): void {
  const head = `    .reg .${name} `;
  let line = head;
  for (const register of registers) {
    if (line !== head && line.length + register.length + 2 > widest) {
      out.line(`${line.slice(0, -2)};`);
      line = head;
    }
    line += `${register}, `;
  }
  if (line !== head) out.line(`${line.slice(0, -2)};`);
}

/** In quotes as PTX has them; ptxas 13.0 dies of a path whose last part is empty. */
function fileName(file: string): string {
  const name = oneLine(file).replace(/["\\?]/g, "_");
  return name === "" || name.endsWith("/") ? `${name}_` : name;
}

/** For comments: ptxas refuses a file with any character beyond ASCII. */
function oneLine(text: string): string {
  return text
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .replace(/[^\x20-\x7e]/gu, "?")
    .trim();
}
