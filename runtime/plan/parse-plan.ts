/**
 * Reads a plan from text and holds it to its schema: what passes may be given to a device. A plan's kernels are
 * code: whoever loads one trusts it like a program.
 */
import type {
  Plan,
  PlanBuffer,
  PlanKernel,
  PlanLaunch,
  PlanMap,
  PlanTensor,
} from "../../compiler/plan/plan.ts";
import { planSchema } from "../../compiler/plan/plan.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes, isDType } from "../../compiler/types/dtype.ts";
import type { Field } from "./fields.ts";
import {
  PlanError,
  fail,
  integer,
  list,
  matching,
  member,
  members,
  number,
  oneOf,
  string,
} from "./fields.ts";
import { SizeError, parseSize } from "./size.ts";

/** Throws `PlanError` with the place of the first mistake. */
export function parsePlan(text: string): Plan {
  const root: Field = { path: "", value: jsonOf(text) };
  const schema = member(root, "schema");
  if (schema.value !== planSchema) {
    throw new PlanError(
      `plan.json has the schema ${JSON.stringify(schema.value) ?? "undefined"}, and this runtime reads ${planSchema}`,
    );
  }
  const plan: Plan = {
    schema: planSchema,
    compiler: string(member(root, "compiler")),
    program: string(member(root, "program")),
    target: string(member(root, "target")),
    dims: dimsOf(member(root, "dims")),
    checks: list(member(root, "checks"), checkOf),
    inputs: list(member(root, "inputs"), tensorOf),
    outputs: list(member(root, "outputs"), tensorOf),
    buffers: list(member(root, "buffers"), bufferOf),
    temporaryBytes: size(member(root, "temporaryBytes")),
    preparation: list(member(root, "preparation"), launchOf),
    launches: list(member(root, "launches"), launchOf),
    kernels: list(member(root, "kernels"), kernelOf),
  };
  checkReferences(plan);
  return plan;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PlanError(`plan.json is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/;
/** A file beside the plan: no folder, no leading dot. */
const fileName = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const maxBuffers = 1_000_000;
const swizzles: readonly PlanMap["swizzle"][] = [0, 32, 64, 128];

function dimsOf(field: Field): Plan["dims"] {
  const bound = members(member(field, "bound")).map(([name, value]): [string, number] => [
    name,
    integer(value, 0, Number.MAX_SAFE_INTEGER),
  ]);
  return { bound: Object.fromEntries(bound), dynamic: list(member(field, "dynamic"), string) };
}

function checkOf(field: Field): Plan["checks"][number] {
  return {
    left: size(member(field, "left")),
    relation: oneOf(member(field, "relation"), ["==", "<", "<=", "!="]),
    right: size(member(field, "right")),
    message: string(member(field, "message")),
  };
}

function tensorOf(field: Field): PlanTensor {
  return {
    name: string(member(field, "name")),
    dtype: dtype(member(field, "dtype")),
    shape: list(member(field, "shape"), size),
    axes: list(member(field, "axes"), string),
    role: oneOf(member(field, "role"), ["argument", "param", "state", "result"]),
    buffer: integer(member(field, "buffer"), 0, maxBuffers),
  };
}

function bufferOf(field: Field): PlanBuffer {
  const kind = oneOf(member(field, "kind"), ["input", "output", "state", "temporary", "flags", "prepared"]);
  const offset = member(field, "offset");
  if ((offset.value === undefined) === (kind === "temporary")) {
    fail(offset, kind === "temporary" ? "a size" : "no offset outside the temporaries");
  }
  return {
    id: integer(member(field, "id"), 0, maxBuffers),
    kind,
    bytes: size(member(field, "bytes")),
    offset: offset.value === undefined ? undefined : size(offset),
  };
}

function launchOf(field: Field): PlanLaunch {
  const grid = list(member(field, "grid"), size);
  const [x, y, z] = grid;
  if (x === undefined || y === undefined || z === undefined || grid.length !== 3)
    fail(member(field, "grid"), "three sizes");
  const early = member(field, "early");
  if (early.value !== undefined && early.value !== true) fail(early, "true, or nothing");
  return {
    kernel: integer(member(field, "kernel"), 0, maxBuffers),
    buffers: list(member(field, "buffers"), (item) => integer(item, 0, maxBuffers)),
    grid: [x, y, z],
    sizes: list(member(field, "sizes"), size),
    maps: list(member(field, "maps"), (dims) => list(dims, size)),
    ...(early.value === true ? { early: true } : {}),
  };
}

function kernelOf(field: Field): PlanKernel {
  const roofline = member(field, "roofline");
  return {
    name: string(member(field, "name")),
    entry: matching(member(field, "entry"), identifier, "an identifier"),
    summary: string(member(field, "summary")),
    file: matching(member(field, "file"), fileName, "a file name"),
    sha256: matching(member(field, "sha256"), /^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal"),
    threads: integer(member(field, "threads"), 1, 1024),
    sharedBytes: integer(member(field, "sharedBytes"), 0, 2 ** 31),
    dynamicSharedBytes: integer(member(field, "dynamicSharedBytes"), 0, 2 ** 31),
    buffers: list(member(field, "buffers"), (item) => ({
      name: string(member(item, "name")),
      dtype: dtype(member(item, "dtype")),
      access: oneOf(member(item, "access"), ["read", "write", "read-write"]),
    })),
    sizes: list(member(field, "sizes"), (item) => ({
      name: string(member(item, "name")),
      type: oneOf(member(item, "type"), ["i32", "i64"]),
    })),
    maps: list(member(field, "maps"), mapOf),
    features: list(member(field, "features"), string),
    bytes: size(member(field, "bytes")),
    flops: size(member(field, "flops")),
    roofline: { bandwidth: number(member(roofline, "bandwidth")), flops: number(member(roofline, "flops")) },
    lines: list(member(field, "lines"), (item) => ({
      line: integer(member(item, "line"), 1, 2 ** 31),
      source: string(member(item, "source")),
    })),
  };
}

function mapOf(field: Field): PlanMap {
  const box = member(field, "box");
  const extents = list(box, (item) => integer(item, 1, 256));
  if (extents.length < 1 || extents.length > 5) fail(box, "1 to 5 extents");
  const swizzle = member(field, "swizzle");
  return {
    name: string(member(field, "name")),
    buffer: integer(member(field, "buffer"), 0, maxBuffers),
    dtype: dtype(member(field, "dtype")),
    box: extents,
    swizzle: swizzles.find((bytes) => bytes === swizzle.value) ?? fail(swizzle, swizzles.join(" or ")),
  };
}

function dtype(field: Field): DType {
  const name = string(field);
  return isDType(name) ? name : fail(field, Object.keys(dtypes).join(" or "));
}

function size(field: Field): string {
  const text = string(field);
  try {
    parseSize(text);
  } catch (error) {
    if (error instanceof SizeError) fail(field, "a size");
    throw error;
  }
  return text;
}

/** The launch gives its kernel as many buffers, sizes and maps as that takes. */
function checkLaunch(plan: Plan, path: string, launch: PlanLaunch): void {
  known(`${path}.kernel`, launch.kernel, plan.kernels.length);
  const kernel = plan.kernels[launch.kernel];
  for (const [n, id] of launch.buffers.entries()) known(`${path}.buffers[${n}]`, id, plan.buffers.length);
  if (launch.buffers.length !== kernel?.buffers.length) {
    fail({ path: `${path}.buffers`, value: launch.buffers }, `${kernel?.buffers.length} buffers`);
  }
  if (launch.sizes.length !== kernel.sizes.length) {
    fail({ path: `${path}.sizes`, value: launch.sizes }, `${kernel.sizes.length} sizes`);
  }
  checkMaps(`${path}.maps`, launch, kernel);
}

function known(path: string, id: number, count: number): void {
  if (id >= count) fail({ path, value: id }, `an id below ${count}`);
}

/** Ids name what is there, and launches fit their kernels. */
function checkReferences(plan: Plan): void {
  for (const [k, { id }] of plan.buffers.entries()) {
    if (id !== k) fail({ path: `buffers[${k}].id`, value: id }, String(k));
  }
  for (const [k, { buffer }] of plan.inputs.entries())
    known(`inputs[${k}].buffer`, buffer, plan.buffers.length);
  for (const [k, { buffer }] of plan.outputs.entries()) {
    known(`outputs[${k}].buffer`, buffer, plan.buffers.length);
    if (plan.buffers[buffer]?.kind === "temporary")
      fail({ path: `outputs[${k}].buffer`, value: buffer }, "no temporary");
  }
  for (const part of ["preparation", "launches"] as const)
    for (const [k, launch] of plan[part].entries()) checkLaunch(plan, `${part}[${k}]`, launch);
  for (const [k, { maps, buffers }] of plan.kernels.entries()) {
    for (const [n, { buffer, dtype: element }] of maps.entries()) {
      const path = `kernels[${k}].maps[${n}]`;
      known(`${path}.buffer`, buffer, buffers.length);
      const stored = buffers[buffer]?.dtype;
      if (element !== stored) fail({ path: `${path}.dtype`, value: element }, `its buffer's ${stored}`);
    }
  }
}

/** A launch gives each of its kernel's maps an extent for each extent of the box. */
function checkMaps(path: string, launch: PlanLaunch, kernel: PlanKernel): void {
  if (launch.maps.length !== kernel.maps.length)
    fail({ path, value: launch.maps }, `${kernel.maps.length} maps`);
  for (const [n, { box }] of kernel.maps.entries()) {
    const dims = launch.maps[n];
    if (dims?.length !== box.length) fail({ path: `${path}[${n}]`, value: dims }, `${box.length} sizes`);
  }
}
