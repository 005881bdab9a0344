/**
 * Emits a kernel as a JavaScript module with one export, the kernel's name:
 *
 *     export function NAME(buffers, sizes, blocks_x, blocks_y, blocks_z)
 *
 * `buffers` are typed arrays in the kernel's order (`arrayTypes`), `sizes` are numbers; the loops over the grid's
 * blocks are inside. Nothing is checked: a plan's runtime has done so.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Kernel } from "../../kernel/ir.ts";
import type { DType } from "../../types/dtype.ts";
import { opTable } from "../c/op-table.ts";
import { Printer } from "../c/printer.ts";
import { type Emitted, Names, oneLine, Writer } from "../writer.ts";
import { isOneBlock, jsDialect } from "./dialect.ts";
import { jsReserved } from "./keywords.ts";
import { preludeLines, preludeNames } from "./prelude.ts";

/** The typed array that holds each dtype; floats below 32 bits are there as their bits. */
export const arrayTypes: Readonly<Record<DType, string>> = {
  f32: "Float32Array",
  f16: "Uint16Array",
  bf16: "Uint16Array",
  e4m3: "Uint8Array",
  e5m2: "Uint8Array",
  i64: "BigInt64Array",
  i32: "Int32Array",
  u32: "Uint32Array",
  i8: "Uint8Array",
  u8: "Uint8Array",
  bool: "Uint8Array",
};

const axes = ["x", "y", "z"] as const;

export function emitJs(kernel: Kernel): Emitted {
  invariant(kernel.threads === 1, `${kernel.name}: a block of ${kernel.threads} threads in JavaScript`);
  const names = new Names([
    ...jsReserved,
    ...preludeNames,
    "buffers",
    "sizes",
    ...axes.flatMap((axis) => [`block_${axis}`, `blocks_${axis}`]),
  ]);
  const entry = names.fresh(kernel.name);
  const out = new Writer("  ");
  const sizes = kernel.sizes.map((size) => names.fresh(size.name));
  const body = new Writer("  ");
  const printer = new Printer({
    kernel,
    dialect: jsDialect(sizes),
    names,
    out: body,
    table: { ...opTable, barrier: () => undefined },
  });
  body.block(`export function ${entry}(buffers, sizes, blocks_x, blocks_y, blocks_z)`, () => {
    printHead(body, printer, sizes);
    printGrid(kernel, body, () => printer.body(kernel.body));
  });
  out.line(`// ${oneLine(kernel.summary)}`);
  const prelude = preludeLines(printer.used);
  for (const line of prelude) out.line(line);
  if (prelude.length > 0) out.line("");
  const offset = prelude.length + (prelude.length > 0 ? 2 : 1);
  return {
    text: out.text() + body.text(),
    lines: body.sources().map(({ line, source }) => ({ line: line + offset, source })),
    entry,
    features: [],
  };
}

function printHead(out: Writer, printer: Printer, sizes: readonly string[]): void {
  const { buffers } = printer.kernel;
  const global = buffers
    .filter((buffer) => buffer.space === "global")
    .map((buffer) => printer.buffer(buffer));
  if (global.length > 0) out.line(`const [${global.join(", ")}] = buffers;`);
  if (sizes.length > 0) out.line(`const [${sizes.join(", ")}] = sizes;`);
  for (const buffer of buffers) {
    if (buffer.space === "shared")
      out.line(`const ${printer.buffer(buffer)} = new ${arrayTypes[buffer.dtype]}(${sharedLength(buffer)});`);
  }
}

function sharedLength(buffer: Buffer): number {
  invariant(buffer.length.kind === "const", `shared array ${buffer.name} has no constant length`);
  return buffer.length.value;
}

/** A loop for each axis of the grid that may have more than one block. */
function printGrid(kernel: Kernel, out: Writer, body: () => void): void {
  const loops = ([2, 1, 0] as const).filter((axis) => !isOneBlock(kernel, axis));
  const nest = (depth: number): void => {
    const axis = loops[depth];
    if (axis === undefined) return body();
    const name = axes[axis];
    out.block(`for (let block_${name} = 0; block_${name} < blocks_${name}; block_${name}++)`, () =>
      nest(depth + 1),
    );
  };
  nest(0);
}
