/**
 * A plan written by hand, to try devices with before and beside the compiler: `y = (x * k + 1) * 2` over
 * x: f32[N, 4] in two launches with a temporary between them, k an i32 bound at compile time to 3.
 */
import type { Artifact, Plan, PlanKernel } from "../../compiler/plan/plan.ts";

export interface KernelTexts {
  readonly target: string;
  readonly extension: string;
  readonly affine: string;
  readonly double: string;
}

function kernelOf(name: string, buffers: PlanKernel["buffers"], texts: KernelTexts): PlanKernel {
  return {
    name,
    entry: name,
    summary: name,
    file: `${name}${texts.extension}`,
    sha256: "0".repeat(64),
    threads: 64,
    sharedBytes: 0,
    dynamicSharedBytes: 0,
    buffers,
    sizes: [{ name: "count", type: "i32" }],
    maps: [],
    features: [],
    bytes: "32 * N",
    flops: "8 * N",
    roofline: { bandwidth: 1, flops: 1 },
    lines: [{ line: 3, source: "scale.dsl:7:3" }],
  };
}

export function scalePlan(texts: KernelTexts, edit: (plan: Plan) => Plan = (plan) => plan): Artifact {
  const shape = ["N", "4"];
  const axes = ["N", "4"];
  const f32 = "f32" as const;
  const grid = ["ceildiv(4 * N, 64)", "1", "1"] as const;
  const plan: Plan = {
    schema: 4,
    compiler: "weft 0.1.0",
    program: "scale.dsl:scale",
    target: texts.target,
    dims: { bound: { K: 3 }, dynamic: ["N"] },
    checks: [
      { left: "mod(N, 2)", relation: "==", right: "0", message: "scale.dsl:1:5: N % 2 == 0 does not hold" },
    ],
    inputs: [{ name: "x", dtype: f32, shape, axes, role: "argument", buffer: 0 }],
    outputs: [{ name: "out", dtype: f32, shape, axes, role: "result", buffer: 1 }],
    buffers: [
      { id: 0, kind: "input", bytes: "16 * N", offset: undefined },
      { id: 1, kind: "output", bytes: "16 * N", offset: undefined },
      { id: 2, kind: "temporary", bytes: "16 * N", offset: "256" },
    ],
    temporaryBytes: "256 + ceildiv(16 * N, 256) * 256",
    preparation: [],
    launches: [
      { kernel: 0, buffers: [0, 2], grid, sizes: ["4 * N"], maps: [] },
      { kernel: 1, buffers: [2, 1], grid, sizes: ["4 * N"], maps: [] },
    ],
    kernels: [
      kernelOf(
        "affine",
        [
          { name: "x", dtype: f32, access: "read" },
          { name: "t", dtype: f32, access: "write" },
        ],
        texts,
      ),
      kernelOf(
        "double",
        [
          { name: "t", dtype: f32, access: "read" },
          { name: "y", dtype: f32, access: "write" },
        ],
        texts,
      ),
    ],
  };
  const files = new Map([
    [`affine${texts.extension}`, texts.affine],
    [`double${texts.extension}`, texts.double],
  ]);
  return { plan: edit(plan), files };
}

/** The plan as if `x` were a parameter: its first kernel runs once for the same one. */
export function preparing(plan: Plan): Plan {
  const [first, ...rest] = plan.launches;
  const offset = undefined;
  return {
    ...plan,
    inputs: plan.inputs.map((input) => ({ ...input, role: "param" })),
    buffers: plan.buffers.map((one) =>
      one.kind === "temporary" ? { ...one, kind: "prepared", offset } : one,
    ),
    preparation: first === undefined ? [] : [first],
    launches: rest,
  };
}

function wgsl(name: string, body: string): string {
  return `struct Sizes { count: i32 }
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> goal: array<f32>;
@group(0) @binding(2) var<uniform> sizes: Sizes;
@compute @workgroup_size(64)
fn ${name}(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = i32(id.x);
  if (i < sizes.count) { goal[i] = ${body}; }
}
`;
}

export const wgslTexts: KernelTexts = {
  target: "wgsl",
  extension: ".wgsl",
  affine: wgsl("affine", "source[i] * 3.0 + 1.0"),
  double: wgsl("double", "source[i] * 2.0"),
};

function js(name: string, body: string): string {
  return `// ${name}
const factor = 2;
export function ${name}(buffers, sizes, blocks_x, blocks_y, blocks_z) {
  const [source, goal] = buffers;
  const [count] = sizes;
  for (let block_x = 0; block_x < blocks_x; block_x++) {
    for (let i = 64 * block_x; i < Math.min(count, 64 * block_x + 64); i++) goal[i] = ${body};
  }
}
`;
}

export const jsTexts: KernelTexts = {
  target: "js",
  extension: ".js",
  affine: js("affine", "source[i] * 3 + 1"),
  double: js("double", "source[i] * factor"),
};
