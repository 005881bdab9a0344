/**
 * The Python loader against the CUDA device, both on the driver written in C: the same launches with the same
 * parameters, the same results, and an error for what is wrong. PyTorch takes no part.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Artifact, Plan } from "../../compiler/plan/plan.ts";
import { printPlan } from "../../compiler/plan/build-plan.ts";
import { sha256 } from "../../compiler/plan/sha256.ts";
import { compile } from "../../compiler/index.ts";
import { openSource } from "../../compiler/cli/source-host.ts";
import { parseDims } from "../../compiler/cli/arguments.ts";
import type { HostTensor } from "../../runtime/index.ts";
import { fromNumbers, openDevice, zeros } from "../../runtime/index.ts";
import { preparing, scalePlan } from "./scale-plan.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "weft-python-"));
const library = join(folder, "libcuda.so");
const log = join(folder, "log");
const hasPython = spawnSync("python3", ["--version"]).status === 0;

execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, join(import.meta.dirname, "fake-cuda.c")]);
process.env["WEFT_CUDA_PATH"] = library;
process.env["FAKE_CUDA_LOG"] = log;
process.env["PYTHONDONTWRITEBYTECODE"] = "1";
beforeEach(() => rmSync(log, { force: true }));
afterAll(() => {
  delete process.env["WEFT_CUDA_PATH"];
  delete process.env["FAKE_CUDA_LOG"];
  rmSync(folder, { recursive: true });
});

interface Logged {
  readonly name: string;
  readonly grid: readonly number[];
  readonly block: readonly number[];
  readonly shared: number;
  readonly cluster: readonly number[];
  readonly dependent: number;
  readonly parameters: readonly string[];
}

function takeLog(): readonly Logged[] {
  const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  rmSync(log, { force: true });
  return lines.map((line) => JSON.parse(line) as Logged);
}

function write(artifact: Artifact): string {
  const to = join(mkdtempSync(join(folder, "build-")), "plan");
  mkdirSync(to);
  for (const [name, text] of artifact.files) writeFileSync(join(to, name), text);
  const kernels = artifact.plan.kernels.map((kernel) => ({
    ...kernel,
    sha256: sha256(artifact.files.get(kernel.file) ?? ""),
  }));
  writeFileSync(join(to, "plan.json"), printPlan({ ...artifact.plan, kernels }));
  return to;
}

interface Request {
  readonly inputs: Readonly<Record<string, { readonly shape: readonly number[]; readonly hex?: string }>>;
  readonly results: Readonly<Record<string, readonly number[]>>;
  readonly dims?: Readonly<Record<string, number>>;
  readonly tweak?: Readonly<Record<string, unknown>>;
  readonly times?: number;
}

interface Answer {
  readonly error?: string;
  readonly dims?: Readonly<Record<string, number>>;
  readonly outputs?: Readonly<Record<string, string>>;
}

function python(build: string, request: Request): Answer {
  const script = join(import.meta.dirname, "launch-plan.py");
  const out = execFileSync("python3", [script, build, JSON.stringify(request)], { encoding: "utf8" });
  return JSON.parse(out) as Answer;
}

/** A tensor map as the driver in C writes it down, its address as the parameter that has the same. */
function mapText(hex: string, parameters: readonly string[]): string {
  const bytes = Buffer.from(hex, "hex");
  const [type, rank, swizzle] = bytes;
  const wide = (at: number): readonly bigint[] =>
    Array.from({ length: rank ?? 0 }, (_, k) => bytes.readBigUInt64LE(at + 8 * k));
  const box = Array.from({ length: rank ?? 0 }, (_, k) => bytes.readUInt32LE(88 + 4 * k));
  const at = parameters.indexOf(bytes.subarray(8, 16).toString("hex"));
  return `map of ${at}: type ${type}, swizzle ${swizzle}, [${wide(16)}], strides [${wide(56).slice(0, -1)}], box [${box}]`;
}

/** The plan's parameters of each launch with addresses by buffer: temporaries as offsets from the first of them. */
function spelled(plan: Plan, launches: readonly Logged[]): unknown {
  const base = new Map<string, bigint>();
  return launches.map(({ parameters, ...rest }, k) => {
    const launch = plan.launches[k % plan.launches.length];
    return {
      ...rest,
      parameters: parameters.map((hex, n) => {
        const id = launch?.buffers[n];
        if (hex.length === 256) return mapText(hex, parameters);
        if (id === undefined) return hex;
        const address = Buffer.from(hex, "hex").readBigUInt64LE();
        const kind = plan.buffers[id]?.kind === "temporary" ? "temporary" : `buffer ${id}`;
        const first = base.get(kind) ?? address;
        base.set(kind, first);
        return `${kind} + ${address - first}`;
      }),
    };
  });
}

const scaleTexts = {
  target: "ptx:sm_90a",
  extension: ".ptx",
  affine: ".visible .entry affine(.param .u64 x, .param .u64 y, .param .u32 n)\n",
  double: ".visible .entry double(.param .u64 x, .param .u64 y, .param .u32 n)\n",
};
const scale = (edit?: (plan: Plan) => Plan): string => write(scalePlan(scaleTexts, edit));
const hexOf = (tensor: HostTensor): string => Buffer.from(tensor.bytes).toString("hex");
const rows = fromNumbers(
  "f32",
  [6, 4],
  Array.from({ length: 24 }, (_, k) => k - 8),
);

describe.skipIf(!hasPython)("the Python loader", () => {
  test("computes what the CUDA device computes", async () => {
    const device = await openDevice("cuda");
    const plan = await device.load(scalePlan(scaleTexts));
    const { outputs } = await plan.run(new Map([["x", rows]]), { keep: false, time: false });
    const expected = takeLog();
    const answer = python(scale(), {
      inputs: { x: { shape: [6, 4], hex: hexOf(rows) } },
      results: { out: [6, 4] },
      times: 2,
    });
    expect(answer.error).toBeUndefined();
    expect(answer.dims).toEqual({ K: 3, N: 6 });
    expect(answer.outputs).toEqual({ out: hexOf(outputs.get("out") as HostTensor) });
    const { plan: spec } = scalePlan(scaleTexts);
    const found = takeLog();
    expect(found).toHaveLength(4);
    expect(spelled(spec, found)).toEqual(spelled(spec, [...expected, ...expected]));
    await device.close();
  });

  test("what is made of parameters is made once, when the plan is bound", () => {
    const answer = python(scale(preparing), {
      inputs: { x: { shape: [6, 4], hex: hexOf(rows) } },
      results: { out: [6, 4] },
      times: 3,
    });
    const out = Array.from({ length: 24 }, (_, k) => ((k - 8) * 3 + 1) * 2);
    expect(answer).toMatchObject({ outputs: { out: hexOf(fromNumbers("f32", [6, 4], out)) } });
    expect(takeLog()).toHaveLength(4);
  });

  test("with PyTorch: memory is its own, launches go to its current stream, and a bound plan allocates nothing", () => {
    const script = join(import.meta.dirname, "stub-torch.py");
    const found: unknown = JSON.parse(execFileSync("python3", [script, scale()], { encoding: "utf8" }));
    expect(found).toEqual({
      out: Array.from({ length: 24 }, (_, k) => ((k - 8) * 3 + 1) * 2),
      shape: [6, 4],
      asked: [
        "empty float32 cuda:0",
        "empty uint8 cuda:0",
        "current_stream",
        "empty uint8 cuda:0",
        "bound",
        "current_stream",
        "current_stream",
        "input 'x' is not contiguous: its strides are (1, 6)",
      ],
    });
    expect(takeLog()).toHaveLength(6);
  });

  const programs: readonly {
    readonly file: string;
    readonly entry: string;
    readonly dims: string;
    readonly sizes: Readonly<Record<string, number>>;
  }[] = [
    { file: "test/bench/programs/gemm.dsl", entry: "rows", dims: "", sizes: { M: 100, N: 72, K: 136 } },
    { file: "test/bench/programs/gemm.dsl", entry: "columns", dims: "M=128", sizes: { N: 256, K: 64 } },
    {
      file: "test/bench/programs/attention.dsl",
      entry: "causal",
      dims: "D=64,Dv=64",
      sizes: { B: 2, H: 3, S: 70, T: 70 },
    },
    { file: "test/bench/programs/rowwise.dsl", entry: "rmsnorm_rows", dims: "", sizes: { N: 5, D: 4104 } },
    { file: "test/bench/programs/rowwise.dsl", entry: "cross_entropy_rows", dims: "D=4096", sizes: { N: 0 } },
  ];
  for (const { file, entry, dims, sizes } of programs)
    test(`launches ${entry} as the CUDA device does`, async () => {
      const { source, host } = openSource(join(root, file), root);
      const bound = parseDims([dims]);
      const { artifact } = compile({ source, host, entry, target: "ptx:sm_90a", ...bound });
      if (artifact === undefined) throw new Error(`${entry} does not compile`);
      const { evaluateCount } = await import("../../runtime/plan/size.ts");
      const values = new Map([...bound.dims, ...Object.entries(sizes)]);
      const shapeOf = (shape: readonly string[]): readonly number[] =>
        shape.map((extent) => evaluateCount(extent, values));
      const { plan } = artifact;
      const device = await openDevice("cuda");
      const loaded = await device.load(artifact);
      const inputs = new Map(
        plan.inputs.map(({ name, dtype, shape }) => [name, zeros(dtype, shapeOf(shape))]),
      );
      await loaded.run(inputs, { keep: false, time: false });
      const expected = takeLog();
      const answer = python(write(artifact), {
        inputs: Object.fromEntries(plan.inputs.map(({ name, shape }) => [name, { shape: shapeOf(shape) }])),
        results: Object.fromEntries(plan.outputs.map(({ name, shape }) => [name, shapeOf(shape)])),
      });
      expect(answer.error).toBeUndefined();
      expect(answer.dims).toEqual(Object.fromEntries(values));
      expect(spelled(plan, takeLog())).toEqual(spelled(plan, expected));
      expect(expected.length).toBe(sizes["N"] === 0 ? 0 : plan.launches.length);
      await device.close();
    });

  test("makes the tensor maps that the CUDA device makes, the driver's dims counted from the fastest", async () => {
    const entry = `.visible .entry affine(.param .u64 x, .param .u64 y, .param .u32 n, .param .align 64 .b8 m[128], .param .align 64 .b8 v[128])\n`;
    const maps: Plan["kernels"][number]["maps"] = [
      { name: "m", buffer: 1, dtype: "f32", box: [2, 4], swizzle: 128 },
      { name: "v", buffer: 0, dtype: "f32", box: [1, 2, 4], swizzle: 0 },
    ];
    const artifact = scalePlan({ ...scaleTexts, affine: entry }, (plan) => ({
      ...plan,
      kernels: plan.kernels.map((kernel, k) => (k > 0 ? kernel : { ...kernel, maps })),
      launches: plan.launches.map((launch, k) =>
        k > 0
          ? launch
          : {
              ...launch,
              maps: [
                ["N", "4"],
                ["floordiv(N, 2)", "2", "4"],
              ],
            },
      ),
    }));
    const device = await openDevice("cuda");
    const loaded = await device.load(artifact);
    await loaded.run(new Map([["x", rows]]), { keep: false, time: false });
    const expected = takeLog();
    const answer = python(write(artifact), {
      inputs: { x: { shape: [6, 4], hex: hexOf(rows) } },
      results: { out: [6, 4] },
    });
    expect(answer.error).toBeUndefined();
    const found = takeLog();
    expect(found[0]?.parameters.slice(3).map((hex) => mapText(hex, found[0]?.parameters ?? []))).toEqual([
      "map of 1: type 7, swizzle 3, [4,6], strides [16], box [4,2]",
      "map of 0: type 7, swizzle 0, [4,2,3], strides [16,32], box [4,2,1]",
    ]);
    expect(spelled(artifact.plan, found)).toEqual(spelled(artifact.plan, expected));
    await device.close();
  });

  const x = { shape: [6, 4] };
  const refused: readonly (readonly [string, () => string, Request, string])[] = [
    ["an input is missing", scale, { inputs: {}, results: {} }, "input 'x' is missing: f32[N, 4]"],
    [
      "no such input",
      scale,
      { inputs: { x, y: x }, results: {} },
      "scale.dsl:scale has no input 'y'; it has x",
    ],
    [
      "a wrong dtype",
      scale,
      { inputs: { x }, results: {}, tweak: { x: { dtype: "bf16" } } },
      "input 'x' is bf16[6, 4], and f32[N, 4] is expected",
    ],
    [
      "a wrong rank",
      scale,
      { inputs: { x: { shape: [24] } }, results: {} },
      "input 'x' is f32[24], and f32[N, 4] is expected",
    ],
    [
      "a wrong extent",
      scale,
      { inputs: { x: { shape: [6, 5] } }, results: {} },
      "input 'x': axis 2 has 5 elements, and 4 are expected",
    ],
    [
      "a relation",
      scale,
      { inputs: { x: { shape: [3, 4] } }, results: {} },
      "N % 2 == 0 does not hold (mod(N, 2) is 1, 0 is 0)",
    ],
    [
      "no such dim",
      scale,
      { inputs: { x }, results: {}, dims: { Q: 1 } },
      "scale.dsl:scale has no dims {'Q'}; it has N",
    ],
    [
      "a dim twice",
      scale,
      { inputs: { x }, results: {}, dims: { N: 4 } },
      "input 'x': axis 1 has 6 elements, and N = 4 are expected",
    ],
    [
      "an address",
      scale,
      { inputs: { x }, results: {}, tweak: { offset: 4 } },
      "input 'x' begins at an address that is no multiple of 16",
    ],
    [
      "a result",
      scale,
      { inputs: { x }, results: { out: [2, 4] } },
      "result 'out' has the shape [2, 4], and [6, 4] is expected",
    ],
    [
      "no result without PyTorch",
      scale,
      { inputs: { x }, results: {} },
      "PyTorch is not imported: give the result 'out'",
    ],
    [
      "a dim that no input tells",
      () => scale((plan) => ({ ...plan, dims: { ...plan.dims, dynamic: ["N", "M"] } })),
      { inputs: { x }, results: { out: [6, 4] } },
      "no input's shape tells M (give dims={'M': ..})",
    ],
    [
      "a size that is none",
      () => scale((plan) => ({ ...plan, temporaryBytes: "N ** 2" })),
      { inputs: { x }, results: { out: [6, 4] } },
      "'N ** 2' is not a size",
    ],
    [
      "another GPU's kernels",
      () => scale((plan) => ({ ...plan, target: "cuda:sm_90a" })),
      { inputs: { x }, results: {} },
      "scale.dsl:scale is compiled for cuda:sm_90a, and GPU 0 has compute capability 9.0",
    ],
    [
      "a plan of another schema",
      () => {
        const build = scale();
        const file = join(build, "plan.json");
        writeFileSync(file, readFileSync(file, "utf8").replace(/"schema": \d+/, '"schema": 1'));
        return build;
      },
      { inputs: { x }, results: {} },
      "plan.json has the schema 1, and this loader reads 4",
    ],
    [
      "too much shared memory",
      () =>
        scale((plan) => ({
          ...plan,
          kernels: plan.kernels.map((kernel) => ({ ...kernel, dynamicSharedBytes: 300_000 })),
        })),
      { inputs: { x }, results: {} },
      "kernel affine (scale.dsl:7:3), affine.ptx: 300000 bytes of shared memory: CUDA_ERROR_INVALID_VALUE: invalid argument",
    ],
    [
      "a launch that the driver refuses",
      () =>
        scale((plan) => ({
          ...plan,
          launches: plan.launches.map((one) => ({ ...one, grid: ["1000000 * N", "1", "1"] as const })),
        })),
      { inputs: { x }, results: { out: [6, 4] } },
      "kernel affine (scale.dsl:7:3), affine.ptx: cuLaunchKernelEx, grid 6000000 x 1 x 1, 64 threads, 0 dynamic shared bytes: CUDA_ERROR_INVALID_VALUE",
    ],
    [
      "a map that the driver refuses",
      () =>
        scale((plan) => ({
          ...plan,
          kernels: plan.kernels.map((kernel) => ({
            ...kernel,
            maps: [{ name: "m", buffer: 0, dtype: "f32", box: [3], swizzle: 0 }],
          })),
          launches: plan.launches.map((launch) => ({ ...launch, maps: [["0 * N"]] })),
        })),
      { inputs: { x }, results: { out: [6, 4] } },
      "kernel affine (scale.dsl:7:3), affine.ptx: cuTensorMapEncodeTiled of m, extents [0], box [3]: CUDA_ERROR_INVALID_VALUE: invalid argument",
    ],
    [
      "PTX that the driver refuses",
      () => write(scalePlan({ ...scaleTexts, affine: "broken" })),
      { inputs: { x }, results: {} },
      "kernel affine (scale.dsl:7:3), affine.ptx:3: CUDA_ERROR_INVALID_PTX: a PTX JIT compilation failed\nptxas application ptx input, line 3; error   : Unknown symbol 'broken'",
    ],
  ];
  for (const [what, build, request, words] of refused)
    test(`refuses: ${what}`, () => {
      expect(python(build(), request).error).toContain(words);
    });

  test("refuses a kernel that was changed", () => {
    const build = scale();
    writeFileSync(join(build, "affine.ptx"), "another");
    expect(python(build, { inputs: { x }, results: {} }).error).toBe(
      "kernel affine (scale.dsl:7:3), affine.ptx: not the file that plan.json was written with",
    );
  });

  test("refuses a folder that is not there, and one whose plan is no JSON", () => {
    const build = scale();
    const request = { inputs: {}, results: {} };
    expect(python(join(build, "none"), request).error).toMatch(
      /none\/plan\.json cannot be read: No such file or directory; a plan is a folder that `weft build /,
    );
    writeFileSync(join(build, "plan.json"), "{");
    expect(python(build, request).error).toContain("plan.json is no JSON: ");
  });

  test("sizes have the values that the runtime gives them", async () => {
    const { parseSize } = await import("../../runtime/plan/size.ts");
    const sizes = [
      "ceildiv(N - 20, 4)",
      "floordiv(-N, 4) + mod(-N, 4) * 2",
      "min(N, 4, 3) * -2",
      "max(N, floordiv(100, 7, 2))",
      "(N + 1) * (N - -2)",
      "a.b * N",
    ];
    const script = `import sys, json; sys.path.insert(0, "runtime/python"); import weft; print(json.dumps([weft.size(text, {"N": 6, "a.b": 5}) for text in json.loads(sys.argv[1])]))`;
    const out = execFileSync("python3", ["-c", script, JSON.stringify(sizes)], {
      cwd: root,
      encoding: "utf8",
    });
    const dims = new Map([
      ["N", 6],
      ["a.b", 5],
    ]);
    expect(JSON.parse(out)).toEqual(sizes.map((text) => parseSize(text)(dims)));
  });
});
