/** What crosses the border of a function that is compiled by itself: leading axes that `...` stands for, and ragged rows. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../compiler/cli/cli.ts";
import { compilerApi } from "../../compiler/cli/compiler.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { fromNumbers, openSafetensorsFile, toNumbers, writeSafetensorsFile } from "../../runtime/index.ts";
import type { Ran } from "./session.ts";

const packed = `fn centred<A: float>(x: A[..., D], g: f32[D]) -> (y: A[..., D], m: f32[...]) {
  let m = for ...: mean[d](x[..., d])
  (y: for ..., d: (x[..., d] - m[...]) * g[d], m: m)
}
`;

const ragged = `dim E, D, F, N, K, R[E]
fn grouped(x: f32[E, R[E], D], w: f32[E, F, D]) -> (y: f32[E, R[E], F], s: f32[E]) {
  let y = for e, r, f: sum[d](x[e, r, d] * w[e, f, d])
  (y: y, s: for e: sum[r, f](y[e, r, f]))
}
fn pairs(x: bf16[2, E, R[E], D], g: f32[E, R[E]]) -> bf16[2, E, R[E], D] {
  for b, e, r, d: x[b, e, r, d] * g[e, r]
}
fn sent(x: f32[N, D], index: i32[N, K]) -> (rows: f32[E, R[E], D], back: f32[N, D]) {
  let (rows, plan) = dispatch[E](x, index)
  let one = for n in N, k in K: 1.0
  (rows: rows, back: combine(rows, plan, one))
}
fn scaled(x: e4m3[E, R[E], D] @ (1, 32)) -> f32[E, D] { for e, d: sum[r](x[e, r, d]) }
module Held { param w: f32[E, R[E], D]
  fn all(n: f32[N]) -> f32[E, D] { for e, d: sum[r](w[e, r, d]) }
}
`;

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "weft-borders-"));
  await writeFile(join(cwd, "packed.dsl"), packed);
  await writeFile(join(cwd, "ragged.dsl"), ragged);
  await writeFile(join(cwd, "plain.dsl"), "fn f(x: f32[N]) -> f32[N] { x }\n");
});
afterAll(() => rm(cwd, { recursive: true }));

async function weft(...args: readonly string[]): Promise<Ran> {
  const [out, note]: [string[], string[]] = [[], []];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => note.push(text) },
  };
  const terminal = terminalOf(streams, {}, cwd);
  const code = await runCli(args, terminal, () => Promise.resolve(compilerApi()), "0.0.0");
  return { code, out: out.join(""), note: note.join("") };
}

async function results(file: string): Promise<Readonly<Record<string, readonly (number | bigint)[]>>> {
  const opened = await openSafetensorsFile(join(cwd, file));
  const found: Record<string, readonly (number | bigint)[]> = {};
  for (const name of opened.tensors.keys()) found[name] = [...toNumbers(await opened.read(name))];
  await opened.close();
  return found;
}

describe("leading axes", () => {
  test.each(["...=2x3", "...=BxS,B=2,S=3", "...=3x3", "...=7", "...="])(
    "run as --dims %s says, on every device alike",
    async (text) => {
      for (const device of ["js", "simulate", "webgpu"]) {
        const dims = `${text},D=33,A=f32`;
        const args = [
          "--dims",
          dims,
          "--random",
          "1",
          "--device",
          device,
          "--compare",
          "reference",
          "--json",
        ];
        const { code, out, note } = await weft("run", "packed.dsl:centred", ...args);
        expect([note, code]).toEqual(["", 0]);
        expect(JSON.parse(out).comparison).toMatchObject([{ violations: 0 }, { violations: 0 }]);
      }
    },
    120_000,
  );

  test("are what an input file has there", async () => {
    const x = [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31];
    const inputs = { x: fromNumbers("f32", [2, 1, 2, 3], x), g: fromNumbers("f32", [3], [1, 10, 100]) };
    await writeSafetensorsFile(join(cwd, "in.safetensors"), new Map(Object.entries(inputs)));
    const files = ["--input", "in.safetensors", "--output", "out.safetensors"];
    const run = ["run", "packed.dsl:centred", "--dims", "A=f32", "--device", "js", ...files];
    expect(await weft(...run)).toMatchObject({ code: 0, note: "" });
    const { y, m } = await results("out.safetensors");
    const means = [0, 1, 2, 3].map((row) => x.slice(3 * row, 3 * row + 3).reduce((a, b) => a + b, 0) / 3);
    means.forEach((mean, row) => expect(m?.[row]).toBeCloseTo(mean, 5));
    x.forEach((value, k) => {
      const wanted = (value - (means[Math.floor(k / 3)] ?? 0)) * 10 ** (k % 3);
      expect(y?.[k]).toBeCloseTo(wanted, 3);
    });
  });

  test("that are names stay open in the plan, under these names", async () => {
    const dims = ["--dims", "...=BxS", "--dims", "D=8,A=bf16"];
    expect(await weft("build", "packed.dsl", "--target", "js", ...dims, "-o", "p")).toMatchObject({
      code: 0,
    });
    const plan: unknown = JSON.parse(await readFile(join(cwd, "p", "plan.json"), "utf8"));
    expect(plan).toMatchObject({
      dims: { dynamic: ["B", "S"] },
      inputs: [{ name: "x", shape: ["B", "S", "8"], axes: ["B", "S", "D"] }, { name: "g" }],
      outputs: [{ axes: ["B", "S", "D"] }, { axes: ["B", "S"] }],
    });
  });

  test("that nothing says, or says wrongly, are refused", async () => {
    const run = (dims: string, file = "packed.dsl"): Promise<Ran> =>
      weft("run", file, "--dims", dims, "--random", "1", "--device", "js");
    const open = await run("A=f32,D=4");
    expect(open.code).toBe(1);
    expect(open.note).toContain("error[WF2704]");
    expect(open.note).toContain("--dims ...=4x128");
    expect((await run("...=DxB,A=f32")).note).toContain("'D' is the name of another axis");
    expect((await run("...=BxB,A=f32")).note).toContain("'B' is the name of another axis");
    for (const dims of ["...=4xs", "...=4,...=5", "...=0"]) expect((await run(dims)).code).toBe(2);
    expect(await run("...=4,N=3", "plain.dsl")).toMatchObject({
      code: 2,
      note: "weft: --dims ...: no function of plain.dsl takes any leading axes\n",
    });
  });
});

describe("ragged rows", () => {
  const devices = ["reference", "js", "simulate", "webgpu"];
  /** Rows of a last expert are left over, or there are fewer than the counts ask for. */
  const counted = [
    [2, 0, 3],
    [0, 0, 5],
    [1, 1, 1],
    [4, 3, 2],
    [-2, 5, 2147483647],
  ];
  const [rowCount, D, F] = [5, 3, 2];
  const x = Array.from({ length: rowCount * D }, (_, k) => ((k * 7) % 11) - 5);
  const w = Array.from({ length: 3 * F * D }, (_, k) => ((k * 5) % 13) - 6);

  test.each(counted)(
    "%i, %i and %i of 5 rows come in and go out one behind another",
    async (...counts) => {
      const inputs = {
        x: fromNumbers("f32", [rowCount, D], x),
        w: fromNumbers("f32", [3, F, D], w),
        R: fromNumbers("i32", [3], counts),
      };
      await writeSafetensorsFile(join(cwd, "rows.safetensors"), new Map(Object.entries(inputs)));
      const y: number[] = Array(rowCount * F).fill(0);
      const s = [0, 0, 0];
      let row = 0;
      counts.forEach((count, e) => {
        for (let r = 0; r < count && row < rowCount; r += 1, row += 1) {
          for (let f = 0; f < F; f += 1) {
            let sum = 0;
            for (let d = 0; d < D; d += 1) sum += (x[row * D + d] ?? 0) * (w[(e * F + f) * D + d] ?? 0);
            y[row * F + f] = sum;
            s[e] = (s[e] ?? 0) + sum;
          }
        }
      });
      const isOrdinary = counts[0] === 2;
      for (const device of isOrdinary ? devices : ["reference", "js"]) {
        const files = ["--input", "rows.safetensors", "--output", "y.safetensors"];
        const { code, note } = await weft("run", "ragged.dsl:grouped", "--device", device, ...files);
        expect([note, code]).toEqual(["", 0]);
        expect(await results("y.safetensors")).toEqual({ y, s });
      }
    },
    120_000,
  );

  test("with an axis before their experts', and a second tensor of the same rows", async () => {
    for (const device of devices.slice(1)) {
      const args = ["--dims", "E=4,D=9,R_rows=150", "--random", "2", "--device", device, "--json"];
      const { code, out } = await weft("run", "ragged.dsl:pairs", ...args, "--compare", "reference");
      expect(code).toBe(0);
      expect(JSON.parse(out)).toMatchObject({
        outputs: [{ name: "out", type: "bf16[2, 150, 9]" }],
        comparison: [{ violations: 0 }],
      });
    }
  }, 120_000);

  test("that a dispatch made go out with their counts", async () => {
    const inputs = {
      x: fromNumbers("f32", [3, 1], [10, 20, 30]),
      index: fromNumbers("i32", [3, 2], [2, 0, -1, 2, 0, 2]),
    };
    await writeSafetensorsFile(join(cwd, "sent.safetensors"), new Map(Object.entries(inputs)));
    for (const device of devices) {
      const files = ["--input", "sent.safetensors", "--output", "y.safetensors", "--dims", "E=4"];
      expect(await weft("run", "ragged.dsl:sent", "--device", device, ...files)).toMatchObject({ code: 0 });
      expect(await results("y.safetensors")).toEqual({
        rows: [10, 30, 10, 20, 30, 0],
        R: [2, 0, 3, 0],
        back: [20, 20, 60],
      });
    }
  }, 120_000);

  test("are named in the plan as what they are", async () => {
    const built = await weft("build", "ragged.dsl:grouped", "--target", "js", "-o", "rows");
    expect(built).toMatchObject({ code: 0, note: "" });
    expect(JSON.parse(await readFile(join(cwd, "rows", "plan.json"), "utf8"))).toMatchObject({
      inputs: [
        { name: "R", dtype: "i32", shape: ["E"], axes: ["E"] },
        { name: "x", shape: ["R_rows", "D"], axes: ["R[E]", "D"] },
        { name: "w" },
      ],
    });
  });

  test("with block scales, or of a module, are refused", async () => {
    for (const entry of ["scaled", "Held.all"]) {
      const { code, note } = await weft("run", `ragged.dsl:${entry}`, "--random", "1", "--device", "js");
      expect(code).toBe(1);
      expect(note).toContain("error[WF2705]");
    }
  });
});
