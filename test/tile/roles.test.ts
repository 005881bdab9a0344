/**
 * `roles copy 0|1, math 1|2|3`: the same programs, cut as they are asked to be. Without a role that copies they compute
 * what they mean, in the tile interpreter and in the simulator, and ptxas takes them without a spill.
 */
import { describe, expect, it } from "vitest";
import { parse } from "../../compiler/tile/parse.ts";
import { checkProtocol } from "../../compiler/tile/protocol.ts";
import { assemble, hasPtxas } from "../targets/ptx/tools.ts";
import { compiled, expectSimulated, expectTiles, inputsOf, tilesOf, type Sizes } from "./computed.ts";

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
