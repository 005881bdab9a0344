/**
 * Emits a kernel as a WGSL module with one entry point.
 *
 * Buffers are bindings of group 0 in the kernel's order; the sizes, where there are any, are one uniform struct of
 * i32 behind them. A buffer that is never used is still declared, so a pipeline takes an explicit layout.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Kernel } from "../../kernel/ir.ts";
import { collectOps, partsOf, visitOps } from "../../kernel/walk.ts";
import { opTable } from "../c/op-table.ts";
import { Printer } from "../c/printer.ts";
import { type Emitted, Names, oneLine, Writer } from "../writer.ts";
import { wgslDialect, type WgslNames } from "./dialect.ts";
import { wgslReserved } from "./keywords.ts";
import { elementText, lanesOf, memoryTable } from "./memory.ts";
import { preludeFunctions, preludeNames, preludeValues } from "./prelude.ts";

/** What a kernel needs beyond the base: by WebGPU feature, the extension of WGSL that goes with it, in order. */
const extensions: Readonly<Record<string, string>> = {
  "shader-f16": "f16",
  subgroups: "subgroups",
  "chromium-experimental-subgroup-matrix": "chromium_experimental_subgroup_matrix",
};

export function emitWgsl(kernel: Kernel): Emitted {
  const free = new Names([...wgslReserved, ...preludeNames]);
  const entry = free.fresh(kernel.name);
  const names = kernelNames(kernel, free);
  const body = new Writer("  ");
  const table = { ...opTable, ...memoryTable };
  const printer = new Printer({ kernel, dialect: wgslDialect(names), names: free, out: body, table });
  body.indented(() => printer.body(kernel.body));

  const features = featuresOf(kernel);
  const out = new Writer("  ");
  for (const feature of features) out.line(`enable ${extensions[feature] ?? ""};`);
  if (features.length > 0) out.line("");
  out.line(`// ${oneLine(kernel.summary)}`);
  printDeclarations(kernel, printer, names, out);
  for (const line of preludeFunctions(printer.used)) out.line(line);
  printEntry(kernel, entry, names, out);
  out.indented(() => {
    for (const line of preludeValues(printer.used)) out.line(line);
  });
  const head = out.text();
  const offset = head.split("\n").length - 1;
  return {
    text: `${head}${body.isEmpty ? "" : body.text()}}\n`,
    lines: body.sources().map(({ line, source }) => ({ line: line + offset, source })),
    entry,
    features,
  };
}

function kernelNames(kernel: Kernel, free: Names): WgslNames {
  const atomics = new Set(collectOps(kernel.body, "atomic").map((op) => op.buffer));
  const fields = new Names(wgslReserved);
  return {
    sizes: free.fresh("sizes"),
    sizeFields: kernel.sizes.map((size) => fields.fresh(size.name)),
    block: free.fresh("block"),
    thread: free.fresh("thread"),
    lane: free.fresh("lane"),
    subgroup: free.fresh("subgroup"),
    threadIndex: free.fresh("thread_index"),
    laneIndex: free.fresh("lane_index"),
    subgroupIndex: free.fresh("subgroup_index"),
    atomics,
  };
}

const bySubgroup: ReadonlySet<string> = new Set(["lane", "subgroup", "shuffle-xor", "shuffle-index"]);

function featuresOf(kernel: Kernel): readonly string[] {
  const used = new Set<string>();
  if (kernel.buffers.some((buffer) => buffer.dtype === "f16")) used.add("shader-f16");
  visitOps(kernel.body, (op) => {
    if (bySubgroup.has(op.kind)) used.add("subgroups");
    if (op.kind === "instruction")
      for (const feature of ["shader-f16", "chromium-experimental-subgroup-matrix"]) used.add(feature);
    if (partsOf(op).results.some((result) => result.type === "f16")) used.add("shader-f16");
  });
  return Object.keys(extensions).filter((feature) => used.has(feature));
}

function printDeclarations(kernel: Kernel, printer: Printer, names: WgslNames, out: Writer): void {
  let binding = 0;
  for (const buffer of kernel.buffers) {
    const name = printer.buffer(buffer);
    if (buffer.space === "shared") {
      out.line(`var<workgroup> ${name}: ${sharedType(buffer, names)};`);
      continue;
    }
    const access = buffer.access === "read" ? "read" : "read_write";
    out.line(
      `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${elementName(buffer, names)}>;`,
    );
    binding += 1;
  }
  if (kernel.sizes.length > 0) {
    const type = printer.names.fresh("Sizes");
    out.block(`struct ${type}`, () => {
      for (const field of names.sizeFields) out.line(`${field}: i32,`);
    });
    out.line(`@group(0) @binding(${binding}) var<uniform> ${names.sizes}: ${type};`);
  }
  out.line("");
}

function sharedType(buffer: Buffer, names: WgslNames): string {
  invariant(buffer.length.kind === "const", `shared array ${buffer.name} has no constant length`);
  const [length, lanes] = [buffer.length.value, lanesOf(buffer)];
  const element = elementName(buffer, names);
  const { panel } = buffer;
  if (panel === undefined) return `array<${element}, ${length / lanes}>`;
  return `array<array<${element}, ${panel / lanes}>, ${length / panel}>`;
}

function elementName(buffer: Buffer, names: WgslNames): string {
  const element = elementText(buffer);
  return names.atomics.has(buffer) ? `atomic<${element}>` : element;
}

function printEntry(kernel: Kernel, entry: string, names: WgslNames, out: Writer): void {
  const uses = new Set<string>();
  visitOps(kernel.body, (op) => uses.add(op.kind));
  const params: string[] = [];
  if (uses.has("block")) params.push(`@builtin(workgroup_id) ${names.block}: vec3<u32>`);
  if (uses.has("thread")) params.push(`@builtin(local_invocation_index) ${names.threadIndex}: u32`);
  if (uses.has("lane")) params.push(`@builtin(subgroup_invocation_id) ${names.laneIndex}: u32`);
  if (uses.has("subgroup")) params.push(`@builtin(subgroup_id) ${names.subgroupIndex}: u32`);
  out.line(`@compute @workgroup_size(${kernel.threads})`);
  out.line(`fn ${entry}(${params.join(", ")}) {`);
  out.indented(() => {
    if (uses.has("thread")) out.line(`let ${names.thread} = i32(${names.threadIndex});`);
    if (uses.has("lane")) out.line(`let ${names.lane} = i32(${names.laneIndex});`);
    if (uses.has("subgroup")) out.line(`let ${names.subgroup} = i32(${names.subgroupIndex});`);
  });
}
