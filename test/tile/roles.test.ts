/**
 * `roles copy 0|1, math 1|2|3`: the same programs, cut as they are asked to be. As they are not cut by themselves they
 * compute what they mean, in the tile interpreter and in the simulator, and ptxas takes them without a spill.
 */
import { describe, expect, it } from "vitest";
import { lowerTileProgram } from "../../compiler/kernel/from-tile/lower.ts";
import { improve } from "../../compiler/kernel/passes/index.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import { decode } from "../../compiler/tensor/number-formats.ts";
import type { GlobalBuffer } from "../../compiler/tile/ir.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { checkProtocol } from "../../compiler/tile/protocol.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { dtypes } from "../../compiler/types/dtype.ts";
import { assemble, hasPtxas } from "../targets/ptx/tools.ts";
import { simulate } from "../targets/ptx/simulated.ts";
import { attempted } from "./cascade-programs.ts";
import {
  compiled,
  expectSimulated,
  expectTiles,
  expectWithin,
  inputsOf,
  tilesOf,
  type Sizes,
} from "./computed.ts";

interface Program {
  readonly text: string;
  readonly dims: Sizes;
  /** What a schedule says beside the roles. */
  readonly clauses: string;
  /** Warpgroups of the one that is run. */
  readonly math: number;
}

const product = `dim N, D, F
fn f(x: bf16[N, D], w: bf16[F, D]) -> f32[N, F] { for n, f: sum[d](x[n, d] * w[f, d]) }`;

/** Sizes are odd, and steps are more than slots. */
const programs: Readonly<Record<string, Program>> = {
  "a product": { text: product, dims: { N: 70, D: 200, F: 40 }, clauses: "stages 2; ", math: 2 },
  "a product whose factors threads compute": {
    text: product,
    dims: { N: 33, D: 199, F: 35 },
    clauses: "stages 3; ",
    math: 1,
  },
  "products that stream into others": {
    text: `import std.nn { softmax }
dim S, T, D
fn f(q: bf16[S, D], k: bf16[T, D], v: bf16[T, D]) -> bf16[S, D] {
  let p = softmax[T](for s, t: rsqrt(D) * sum[d](q[s, d] * k[t, d]) where t <= s)
  for s, d: sum[t](p[s, t] * v[t, d])
}`,
    dims: { S: 67, T: 70, D: 64 },
    clauses: "tile T 16; stages 2; ",
    math: 2,
  },
  "products that share a factor": {
    text: `import std.nn { softmax }
dim S, T, D
fn f(q: bf16[S, D], c: bf16[T, D]) -> bf16[S, D] {
  let p = softmax[T](for s, t: sum[d](q[s, d] * c[t, d]))
  for s, d: sum[t](p[s, t] * c[t, d])
}`,
    dims: { S: 33, T: 70, D: 64 },
    clauses: "tile T 16; stages 2; ",
    math: 1,
  },
};

/** The same on two blocks: each has more tiles than slots. */
function onTwoBlocks(text: string): string {
  const fewer = text.replace(/^block worker in \d+$/m, "block worker in 2");
  expect(fewer).not.toBe(text);
  return fewer;
}

const rows: Readonly<Record<string, Omit<Program, "clauses"> & { readonly copies: string }>> = {
  "a norm": {
    text: `import std.nn { rmsnorm }
dim N, D
fn f(x: bf16[N, D], g: f32[D]) -> bf16[N, D] { rmsnorm(x, g) }`,
    dims: { N: 70, D: 136 },
    math: 1,
    copies: "one",
  },
  "a softmax": {
    text: `import std.nn { softmax }
dim N, D
fn f(x: bf16[N, D]) -> bf16[N, D] { softmax[D](x) }`,
    dims: { N: 11, D: 1032 },
    math: 2,
    copies: "one",
  },
  "a softmax of rows that lie for no engine": {
    text: `import std.nn { softmax }
dim N, D
fn f(x: f32[N, D], y: bf16[N, D]) -> f32[N, D] { softmax[D](for n, d: x[n, d] + y[n, d]) }`,
    dims: { N: 11, D: 333 },
    math: 3,
    copies: "all",
  },
};

function made(name: string, copy: number, math: number): ReturnType<typeof compiled> {
  const { text, dims, clauses } = programs[name] ?? { text: "", dims: {}, clauses: "" };
  return compiled(`${text}\nschedule f on sm_90a { ${clauses}roles copy ${copy}, math ${math} }\n`, dims);
}

describe.each(Object.entries(programs))("%s", (name, { math: run }) => {
  it.each([1, 2, 3])("has the roles that are asked for, with math %i", (math) => {
    for (const copy of [0, 1]) {
      const one = made(name, copy, math);
      const roles = (tilesOf(one)[0] ?? "").matchAll(/^ *role (\w+) (\d+)/gm);
      const asked = [["math", `${math * 128}`], ...(copy === 0 ? [] : [["copy", "128"]])];
      expect(Array.from(roles, ([, role, threads]) => [role, threads])).toEqual(asked);
      if (!hasPtxas || copy === 1) continue;
      const text = [...(one.artifact?.files.values() ?? [])].join("\n");
      expect(assemble(text, "sm_90a")).toEqual({ complaints: [], spilling: [], entries: 1 });
    }
  });

  it("computes what it means without a role that copies", async () => {
    const one = made(name, 0, run);
    const inputs = inputsOf(one);
    expectTiles(one, inputs);
    await expectSimulated(one, inputs);
  });
});

describe.each(Object.entries(rows))("%s", (_, { text, dims, math: run, copies }) => {
  const scheduled = (copy: number, math: number): ReturnType<typeof compiled> =>
    compiled(`${text}\nschedule f on sm_90a { roles copy ${copy}, math ${math} }\n`, dims);

  it.each([1, 2, 3])("has the roles that are asked for, with math %i", (math) => {
    const brought = scheduled(1, math);
    const [tiles = ""] = tilesOf(brought);
    const roles = Array.from(tiles.matchAll(/^ *role (\w+) (\d+ \w+)/gm), ([, role, is]) => [role, is]);
    expect(roles).toEqual([
      ["math", `${math * 128} all`],
      ["copy", `128 ${copies}`],
    ]);
    expect(tilesOf(scheduled(0, math))[0]).toContain(`threads ${math * 128} `);
    if (!hasPtxas) return;
    const kernels = [...(brought.artifact?.files.values() ?? [])].join("\n");
    expect(assemble(kernels, "sm_90a")).toEqual({ complaints: [], spilling: [], entries: 1 });
  });

  it("computes what it means with a role that copies", () => {
    const one = scheduled(1, run);
    const inputs = inputsOf(one);
    const text = onTwoBlocks(tilesOf(one)[0] ?? "");
    expectTiles(one, inputs, text);
    const program = parse(text);
    const caps = ptx.caps("sm_90a");
    const kernel = ptx.legalize(improve(lowerTileProgram(program, caps)), caps);
    const lengthOf = ({ shape, dtype }: GlobalBuffer): number =>
      shape.reduce((all, extent) => all * evaluate(extent, new Map()), dtypes[dtype].bytes);
    const { buffers, findings } = simulate(kernel, caps, {
      buffers: program.buffers.map(
        (buffer) => inputs.get(buffer.name)?.bytes ?? new Uint8Array(lengthOf(buffer)).fill(0xa5),
      ),
      sizes: [],
      grid: [2, 1, 1],
      maps: kernel.maps.map((map) => map.dims.map((dim) => evaluate(dim, new Map()))),
    });
    expect(findings).toEqual([]);
    const out = program.buffers.findIndex(({ access }) => access === "write");
    const dtype = program.buffers[out]?.dtype ?? "f32";
    expectWithin(() => Array.from(decode(dtype, buffers[out] ?? new Uint8Array()), Number), one, inputs);
  });
});

describe("slots that those who multiply fill", () => {
  // Nothing is known of how many steps there are.
  const open = `${product}\nschedule f on sm_90a { stages 3; roles copy 0, math 2 }\n`;
  const [text = ""] = tilesOf(compiled(open, { N: 128, F: 64 }));
  const problem = (changed: string): string | undefined => {
    expect(changed).not.toBe(text);
    return checkProtocol(parse(changed))?.kind;
  };

  it("are filled as often as they are taken, and in time", () => {
    expect(checkProtocol(parse(text))).toBeUndefined();
    // Further ahead than there are slots: it is waited for a release that comes later.
    expect(problem(text.replaceAll("add:i32(k_block, 2)", "add:i32(k_block, 3)"))).toBe("stuck");
    expect(problem(text.replaceAll("add:i32(k_block, 2)", "add:i32(k_block, 1)"))).toBe("left-over");
    expect(problem(text.replace("if lt:bool(1, ", "if lt:bool(2, "))).toBe("stuck");
  });
});

describe("what is refused, with the arithmetic", () => {
  const norm =
    "import std.nn { rmsnorm }\ndim N, D\nfn f(x: bf16[N, D], g: f32[D]) -> bf16[N, D] { rmsnorm(x, g) }";
  it.each([
    ["sm_90a", "norm", "tile N 1, D 8192; roles copy 1, math 2; stages 15", { N: 64, D: 8192 }, "247808"],
    ["sm_90a", "norm", "roles copy 1, math 8", { N: 64, D: 8192 }, "not 1024 and 128"],
    ["sm_90a", "norm", "roles copy 1, math 2", { N: 64 }, "columns are not one"],
    ["sm_90a", "norm", "roles copy 2, math 2", { N: 64, D: 8192 }, "1 warpgroup here, not 2"],
    ["sm_80", "norm", "roles copy 1, math 2", { N: 64, D: 8192 }, "no barriers that count bytes"],
    [
      "sm_90a",
      "product",
      "tile N 192, F 256; stages 2; roles copy 0, math 3; persistent; cluster 1; shared 0",
      { N: 192, D: 64, F: 256 },
      "the 168 of a",
    ],
    [
      "sm_90a",
      "product",
      "roles copy 2, math 1",
      { N: 192, D: 64, F: 256 },
      "1 warpgroup here or none, not 2",
    ],
  ])("%s: %s %s", (target, name, clauses, dims: Sizes, why) => {
    const { diagnostics } = attempted(
      `${name === "norm" ? norm : product}\nschedule f on ${target} { ${clauses} }\n`,
      dims,
      `ptx:${target}`,
    );
    expect(diagnostics.map(({ code }) => code)).toEqual(["WF4701"]);
    expect(diagnostics[0]?.message).toContain(why);
  });
});
