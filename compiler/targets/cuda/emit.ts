/** A kernel as a CUDA C++ file: aliases and device functions that it uses, then the kernel. */
import type { Buffer, Kernel, Op, TensorMap } from "../../kernel/ir.ts";
import { sharedBytesOf, sharedLayout, sizeTypes } from "../../kernel/launch.ts";
import { collectOps, isAddress } from "../../kernel/walk.ts";
import { printDim } from "../../types/dim-text.ts";
import { dtypes } from "../../types/dtype.ts";
import { opTable } from "../c/op-table.ts";
import { Printer, type OpTable } from "../c/printer.ts";
import { type Emitted, Names, Writer } from "../writer.ts";
import { cudaDialect, wrappingBinary, wrappingFma } from "./dialect.ts";
import { printLoad, printStore } from "./memory.ts";
import { cudaReserved } from "./names.ts";
import { preludeLines, preludeNames } from "./prelude.ts";
import { printBarrier, printDescriptor, printRoles, printWait, registersOfWaits } from "./roles.ts";
import { aliases, elementTypes } from "./types.ts";
import { valuesThatMayWrap } from "./wrap.ts";

/** One kernel, as a file. */
export function emitCuda(kernel: Kernel): Emitted {
  const printed = printKernel(kernel);
  const head = new Writer("    ");
  printPrelude(head, [printed]);
  printHead(head, kernel);
  const offset = head.text().split("\n").length - 1;
  return {
    text: head.text() + printed.body.text(),
    lines: printed.body.sources().map(({ line, source }) => ({ line: line + offset, source })),
    entry: printed.entry,
    features: [],
  };
}

/** Several kernels in one file; their names differ. */
export function emitCudaModule(kernels: readonly Kernel[]): string {
  const printed = kernels.map(printKernel);
  const out = new Writer("    ");
  printPrelude(out, printed);
  const texts = printed.map(({ kernel, body }) => {
    const head = new Writer("    ");
    printHead(head, kernel);
    return head.text() + body.text();
  });
  return [out.text(), ...texts].join("\n");
}

interface PrintedKernel {
  readonly kernel: Kernel;
  readonly entry: string;
  readonly body: Writer;
  readonly used: ReadonlySet<string>;
}

function printKernel(kernel: Kernel): PrintedKernel {
  const names = new Names([...cudaReserved, ...preludeNames]);
  const entry = names.fresh(kernel.name);
  const sizes = kernel.sizes.map((size) => names.fresh(size.name));
  const body = new Writer("    ");
  const printer = new Printer({
    kernel,
    dialect: cudaDialect(sizes),
    names,
    out: body,
    table: tableFor(kernel),
  });
  const cluster = kernel.cluster === undefined ? "" : ` __cluster_dims__(${kernel.cluster}, 1, 1)`;
  const bounds = [kernel.threads, ...(kernel.resident === undefined ? [] : [kernel.resident])].join(", ");
  body.line(`extern "C" __global__ void${cluster} __launch_bounds__(${bounds}) ${entry}(`);
  body.indented(() => printParameters(body, printer, sizes));
  body.block(")", () => {
    printShared(body, printer);
    printer.body(kernel.body);
  });
  return { kernel, entry, body, used: printer.used };
}

function printHead(out: Writer, kernel: Kernel): void {
  const { bytes, kind } = sharedLayout(kernel);
  const grid = kernel.grid.map((dim) => printDim(dim)).join(" x ");
  out.line(comment(kernel.summary));
  out.line(
    `// ${grid} blocks of ${kernel.threads} threads${bytes === 0 ? "" : `, ${bytes} bytes of ${kind} shared memory`}`,
  );
}

function printPrelude(out: Writer, printed: readonly PrintedKernel[]): void {
  out.line("// Compile with -fmad=false for the very bits that the PTX target computes.");
  out.line("");
  const lines = preludeLines(new Set(printed.flatMap(({ used }) => [...used])));
  const text = [...lines, ...printed.map(({ body }) => body.text())].join("\n");
  const isUsed = ([name]: readonly [string, string]): boolean => new RegExp(`\\b${name}\\b`).test(text);
  const needed = Object.entries(aliases).filter(isUsed);
  for (const [name, type] of needed) out.line(`using ${name} = ${type};`);
  if (needed.length > 0) out.line("");
  for (const line of lines) out.line(line);
}

function printParameters(out: Writer, printer: Printer, sizes: readonly string[]): void {
  const { kernel } = printer;
  const types = sizeTypes(kernel);
  const parameters = [
    ...kernel.buffers
      .filter((buffer) => buffer.space === "global")
      .map((buffer) => ({
        text: `${buffer.access === "read" ? "const " : ""}${elementTypes[buffer.dtype]}* __restrict__ ${printer.buffer(buffer)}`,
        about: describe(buffer),
      })),
    ...kernel.sizes.map((size, param) => ({
      text: `${types[param] === "i64" ? "long long" : "int"} ${sizes[param] ?? ""}`,
      about: printDim(size.dim),
    })),
    ...kernel.maps.map((map) => ({
      text: `const __grid_constant__ ${printer.use("tensor_map")} ${printer.map(map)}`,
      about: describeMap(map),
    })),
  ];
  for (const [i, { text, about }] of parameters.entries())
    out.line(`${text}${i + 1 < parameters.length ? "," : ""}  ${comment(about)}`);
}

/** One line. A backslash at its end would take the next line into the comment. */
function comment(text: string): string {
  return `// ${text.replace(/\s+/g, " ").replace(/\\+ *$/, "")}`;
}

function describe(buffer: Buffer): string {
  return `${buffer.dtype}[${printDim(buffer.length)}]`;
}

function describeMap({ buffer, dims, box, swizzle }: TensorMap): string {
  const how = swizzle === 0 ? "" : `, swizzled by ${swizzle} bytes`;
  const extents = dims.map((dim) => printDim(dim)).join(", ");
  return `${buffer.dtype}[${extents}] of ${buffer.name} in boxes of ${box.join(" x ")}${how}`;
}

/**
 * Bytes. Kernels of one translation unit declare the same array, and nvcc wants one alignment from all: what the widest
 * swizzle asks for (PTX ISA, "Tensor swizzling modes": a pattern of 128 bytes repeats after 1024).
 */
const sharedAlign = 1024;

function printShared(out: Writer, printer: Printer): void {
  const { offsets, kind } = sharedLayout(printer.kernel);
  const { body } = printer.kernel;
  const pointedAt = [
    ...collectOps(body, "instruction").flatMap((op) => op.operands.filter(isAddress)),
    ...collectOps(body, "descriptor"),
  ];
  const read = new Set([...collectOps(body, "load"), ...pointedAt].map(({ buffer }) => buffer));
  if (kind === "dynamic")
    out.line(`extern __shared__ __align__(${sharedAlign}) unsigned char shared_memory[];`);
  for (const [buffer, offset] of offsets) {
    const type = elementTypes[buffer.dtype];
    const name = printer.buffer(buffer);
    if (kind === "dynamic")
      out.line(`${type}* const ${name} = reinterpret_cast<${type}*>(shared_memory + ${offset});`);
    else {
      // nvcc warns of what is written and never read.
      const unread = read.has(buffer) ? "" : "[[maybe_unused]] ";
      const length = sharedBytesOf(buffer) / dtypes[buffer.dtype].bytes;
      out.line(`${unread}__shared__ __align__(${Math.max(buffer.align, 16)}) ${type} ${name}[${length}];`);
    }
  }
}

function tableFor(kernel: Kernel): OpTable {
  const mayWrap = valuesThatMayWrap(kernel.body);
  const waits = registersOfWaits(kernel.body);
  return {
    ...opTable,
    comment: (op, cx) => cx.out.line(comment(op.text)),
    load: printLoad,
    store: printStore,
    binary: (op, cx) => {
      if (!mayWrap.has(op.dst)) opTable.binary(op, cx);
      else
        cx.define(
          op.dst,
          () => wrappingBinary(op.fn, op.a.type, cx.expr(op.a), cx.expr(op.b)),
          [op.a, op.b],
          "own",
        );
    },
    fma: (op, cx) => {
      if (!mayWrap.has(op.dst)) opTable.fma(op, cx);
      else
        cx.define(
          op.dst,
          () => wrappingFma(op.dst.type, cx.expr(op.a), cx.expr(op.b), cx.expr(op.c)),
          [op.a, op.b, op.c],
          "own",
        );
    },
    instruction: (op, cx) => {
      const registers = waits.get(op);
      if (registers === undefined) opTable.instruction(op, cx);
      else printWait(op, registers, cx);
    },
    barrier: printBarrier,
    descriptor: printDescriptor,
    roles: printRoles,
    for: printFor,
  };
}

/** What stands between a pragma and its loop would take the pragma, so that is printed before. */
function printFor(op: Op<"for">, printer: Printer): void {
  printer.hold(op.from);
  printer.hold(op.to);
  printer.flushFor([op.body]);
  printer.out.line(op.unroll ? "#pragma unroll" : "#pragma unroll 1");
  opTable.for(op, printer);
}
