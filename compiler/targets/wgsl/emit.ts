/**
 * Emits a kernel as a WGSL module with one entry point.
 *
 * Buffers are bindings of group 0 in the kernel's order; the sizes, where there are any, are one uniform struct of
 * i32 behind them. A buffer that is never used is still declared, so a pipeline takes an explicit layout.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Kernel } from "../../kernel/ir.ts";
import { collectOps, visitOps } from "../../kernel/walk.ts";
import { Printer } from "../c/print.ts";
import { type Emitted, Names, oneLine, Writer } from "../writer.ts";
import { typeName, wgslDialect, type WgslNames } from "./dialect.ts";
import { wgslReserved } from "./keywords.ts";
import { preludeFunctions, preludeNames, preludeValues } from "./prelude.ts";

interface Features {
  readonly subgroups: boolean;
  readonly f16: boolean;
}

export function emitWgsl(kernel: Kernel): Emitted {
  const free = new Names([...wgslReserved, ...preludeNames]);
  const entry = free.fresh(kernel.name);
  const names = kernelNames(kernel, free);
  const body = new Writer("  ");
  const printer = new Printer({ kernel, dialect: wgslDialect(names), names: free, out: body });
  body.indented(() => printer.body(kernel.body));

  const features = featuresOf(kernel);
  const out = new Writer("  ");
  if (features.f16) out.line("enable f16;");
  if (features.subgroups) out.line("enable subgroups;");
  if (features.f16 || features.subgroups) out.line("");
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
    features: [...(features.f16 ? ["shader-f16"] : []), ...(features.subgroups ? ["subgroups"] : [])],
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
    threadIndex: free.fresh("thread_index"),
    laneIndex: free.fresh("lane_index"),
    atomics,
  };
}

function featuresOf(kernel: Kernel): Features {
  let subgroups = false;
  let f16 = kernel.buffers.some((buffer) => buffer.dtype === "f16");
  visitOps(kernel.body, (op) => {
    subgroups ||= op.kind === "lane" || op.kind === "shuffle-xor" || op.kind === "shuffle-index";
    if ("dst" in op && !Array.isArray(op.dst) && "type" in op.dst) f16 ||= op.dst.type === "f16";
  });
  return { subgroups, f16 };
}

function printDeclarations(kernel: Kernel, printer: Printer, names: WgslNames, out: Writer): void {
  let binding = 0;
  for (const buffer of kernel.buffers) {
    const name = printer.buffer(buffer);
    if (buffer.space === "shared") {
      invariant(buffer.length.kind === "const", `shared array ${buffer.name} has no constant length`);
      out.line(`var<workgroup> ${name}: array<${elementName(buffer, names)}, ${buffer.length.value}>;`);
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

function elementName(buffer: Buffer, names: WgslNames): string {
  const { dtype } = buffer;
  invariant(
    dtype === "f32" || dtype === "i32" || dtype === "u32" || dtype === "f16",
    `wgsl has no arrays of ${dtype}: legalize packs them`,
  );
  return names.atomics.has(buffer) ? `atomic<${typeName(dtype)}>` : typeName(dtype);
}

function printEntry(kernel: Kernel, entry: string, names: WgslNames, out: Writer): void {
  const uses = new Set<string>();
  visitOps(kernel.body, (op) => uses.add(op.kind));
  const params: string[] = [];
  if (uses.has("block")) params.push(`@builtin(workgroup_id) ${names.block}: vec3<u32>`);
  if (uses.has("thread")) params.push(`@builtin(local_invocation_index) ${names.threadIndex}: u32`);
  if (uses.has("lane")) params.push(`@builtin(subgroup_invocation_id) ${names.laneIndex}: u32`);
  out.line(`@compute @workgroup_size(${kernel.threads})`);
  out.line(`fn ${entry}(${params.join(", ")}) {`);
  out.indented(() => {
    if (uses.has("thread")) out.line(`let ${names.thread} = i32(${names.threadIndex});`);
    if (uses.has("lane")) out.line(`let ${names.lane} = i32(${names.laneIndex});`);
  });
}
