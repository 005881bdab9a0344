/* oxlint-disable unicorn/no-thenable -- `then` is the branch of an `if`. */

import { describe, expect, test } from "vitest";
import type { Declaration } from "../../grammar/ast.ts";
import { parse } from "../../grammar/index.ts";
import { bare, showErrors } from "./show.ts";

/** What a test cares about: names as text, expressions of one word as that word. */
function brief(node: unknown): unknown {
  if (typeof node === "bigint") return Number(node);
  if (Array.isArray(node)) return node.map(brief);
  if (typeof node !== "object" || node === null) return node;
  const map = node as Record<string, unknown>;
  const keys = Object.keys(map);
  if (keys.length === 1 && keys[0] === "text") return map["text"];
  if (map["kind"] === "name") return brief(map["name"]);
  if (map["kind"] === "int") return brief(map["value"]);
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, brief(value)]));
}

function read(text: string): unknown {
  const { file, errors } = parse(text);
  expect(showErrors(text, errors)).toEqual([]);
  return file.declarations.map((decl: Declaration) => brief(bare(decl)));
}

const type = (name: string, more: object = {}): object => ({ kind: "type", name, args: [], ...more });
const axis = (dim: unknown): object => ({ kind: "axis", dim });
const binary = (left: unknown, op: string, right: unknown): object => ({ kind: "binary", op, left, right });

describe("declarations", () => {
  test("imports", () => {
    expect(read('import std.nn { softmax, rmsnorm, }\nimport "./blocks.dsl" {\n  Mlp\n}')).toEqual([
      { kind: "import", module: ["std", "nn"], names: ["softmax", "rmsnorm"] },
      { kind: "import", path: "./blocks.dsl", names: ["Mlp"] },
    ]);
  });

  test("dims and meshes", () => {
    expect(read("dim B, Dh = 128, R[E]\ndim E where E % 8 == 0, E > 1\nmesh ep, tp")).toEqual([
      {
        kind: "dim",
        dims: [{ name: "B" }, { name: "Dh", value: 128 }, { name: "R", raggedBy: "E" }],
        where: [],
      },
      {
        kind: "dim",
        dims: [{ name: "E" }],
        where: [binary(binary("E", "%", 8), "==", 0), binary("E", ">", 1)],
      },
      { kind: "mesh", names: ["ep", "tp"] },
    ]);
  });

  test("a function with all its parts", () => {
    const fn =
      "fn append<A: float, Q: int>[X, K](mut kv: Paged<A, 64>[B, T, C], n: i32[B] = S) -> (a: A[..., X], b: i32) where K <= X";
    expect(read(fn)).toEqual([
      {
        kind: "fn",
        name: "append",
        typeParams: [
          { name: "A", bound: "float" },
          { name: "Q", bound: "int" },
        ],
        dimParams: ["X", "K"],
        params: [
          {
            mut: true,
            name: "kv",
            type: { kind: "type", name: "Paged", args: [type("A"), 64], axes: ["B", "T", "C"].map(axis) },
          },
          { mut: false, name: "n", type: type("i32", { axes: [axis("B")] }), default: "S" },
        ],
        result: {
          kind: "tuple-type",
          fields: [
            { name: "a", type: type("A", { axes: [{ kind: "pack" }, axis("X")] }) },
            { name: "b", type: type("i32") },
          ],
        },
        where: [binary("K", "<=", "X")],
      },
    ]);
  });

  test("types: ragged, placed, block-scaled, with arithmetic", () => {
    const [fn] = read(
      "fn f(x: bf16[E, R[E], Dn + 2 * D, 3], y: e4m3[N @ ep, K] @ (1, 128) ue8m0, z: P<2 * N>)",
    ) as { params: { type: unknown }[] }[];
    expect(fn?.params.map((param) => param.type)).toEqual([
      type("bf16", {
        axes: [
          axis("E"),
          axis({ kind: "index", value: "R", indices: [{ kind: "at", value: "E" }] }),
          axis(binary("Dn", "+", binary(2, "*", "D"))),
          axis(3),
        ],
      }),
      type("e4m3", {
        axes: [{ kind: "axis", dim: "N", mesh: "ep" }, axis("K")],
        scale: { block: [1, 128], format: "ue8m0" },
      }),
      { kind: "type", name: "P", args: [binary(2, "*", "N")] },
    ]);
  });

  test("a module and its members", () => {
    const text = `module Mla<W: weight> {
  /// The query's weights,
  /// down.
  param w_dq: W[Cq, Dm]
  param attn: Mla<W>
  state kv: Paged<bf16, 64>[B, T, C]; const scale = 2.5

  derive g from f by reassociate { w into q, u after p }
  fn f() { }
}`;
    expect(read(text)).toEqual([
      {
        kind: "module",
        name: "Mla",
        typeParams: [{ name: "W", bound: "weight" }],
        members: [
          {
            kind: "param",
            doc: "The query's weights,\ndown.",
            name: "w_dq",
            type: type("W", { axes: [axis("Cq"), axis("Dm")] }),
          },
          { kind: "param", name: "attn", type: { kind: "type", name: "Mla", args: [type("W")] } },
          {
            kind: "state",
            name: "kv",
            type: { kind: "type", name: "Paged", args: [type("bf16"), 64], axes: ["B", "T", "C"].map(axis) },
          },
          { kind: "const", name: "scale", value: { kind: "float", value: 2.5, text: "2.5" } },
          {
            kind: "derive",
            name: "g",
            from: "f",
            rule: "reassociate",
            steps: [
              { factor: "w", where: "into", target: "q" },
              { factor: "u", where: "after", target: "p" },
            ],
          },
          {
            kind: "fn",
            name: "f",
            typeParams: [],
            dimParams: [],
            params: [],
            where: [],
            body: { kind: "block", statements: [] },
          },
        ],
      },
    ]);
  });

  test("numerics, and '^' in its bound alone", () => {
    expect(
      read(
        "numerics Mla { contract: e4m3 @ (1, 128), (128, 128); accumulate: f32 every 128; bound: rel 2^-5 }",
      ),
    ).toEqual([
      {
        kind: "numerics",
        target: ["Mla"],
        clauses: [
          {
            kind: "contract",
            types: [
              type("e4m3", { scale: { block: [1, 128] } }),
              type("e4m3", { scale: { block: [128, 128] } }),
            ],
          },
          { kind: "accumulate", type: type("f32"), every: 128 },
          { kind: "bound", measure: "rel", value: binary(2, "^", { kind: "unary", op: "-", value: 5 }) },
        ],
      },
    ]);
    expect(parse("const a = 2^3").errors).toHaveLength(1);
  });

  test("a schedule", () => {
    const text =
      "schedule Mla.decode on sm_90a { tile (S H) 64, T 64; split T auto\n roles copy 0, math 2 over Ck; persistent }";
    const word = (text: string): object => ({ kind: "word", text });
    const number = (value: number): object => ({ kind: "number", value });
    expect(read(text)).toEqual([
      {
        kind: "schedule",
        target: ["Mla", "decode"],
        on: "sm_90a",
        clauses: [
          {
            keyword: "tile",
            items: [
              { parts: [{ kind: "group", axes: ["S", "H"] }, number(64)] },
              { parts: [word("T"), number(64)] },
            ],
          },
          { keyword: "split", items: [{ parts: [word("T"), word("auto")] }] },
          {
            keyword: "roles",
            items: [
              { parts: [word("copy"), number(0)] },
              { parts: [word("math"), number(2), word("over"), word("Ck")] },
            ],
          },
          { keyword: "persistent", items: [] },
        ],
      },
    ]);
  });

  test("a pipeline", () => {
    const text = `pipeline P1[P, M] where M >= P {
  rank r in P; direction down: stage r, r + P
  let h = r
  phase warm for i in h { F(down), W }
  phase once {
    overlap(F(down), B(down))
    if i == h then { W } else if i > h then I(down) else { },
  }
}`;
    const act = (name: string, direction?: string): object => ({
      kind: "action",
      name,
      ...(direction === undefined ? {} : { direction }),
    });
    expect(read(text)).toEqual([
      {
        kind: "pipeline",
        name: "P1",
        params: ["P", "M"],
        where: [binary("M", ">=", "P")],
        items: [
          { kind: "rank", variable: "r", count: "P" },
          { kind: "direction", name: "down", stages: ["r", binary("r", "+", "P")] },
          { kind: "let", name: "h", value: "r" },
          { kind: "phase", name: "warm", variable: "i", count: "h", body: [act("F", "down"), act("W")] },
          {
            kind: "phase",
            name: "once",
            body: [
              { kind: "overlap", actions: [act("F", "down"), act("B", "down")] },
              {
                kind: "if",
                condition: binary("i", "==", "h"),
                then: [act("W")],
                else: [{ kind: "if", condition: binary("i", ">", "h"), then: [act("I", "down")], else: [] }],
              },
            ],
          },
        ],
      },
    ]);
  });

  test("an action names which of its rank's stages it is for", () => {
    const text = "pipeline P1[P, M] {\n  phase a for i in M { F(down, i % 2), W }\n}";
    expect(read(text)).toEqual([
      {
        kind: "pipeline",
        name: "P1",
        params: ["P", "M"],
        where: [],
        items: [
          {
            kind: "phase",
            name: "a",
            variable: "i",
            count: "M",
            body: [
              { kind: "action", name: "F", direction: "down", slot: binary("i", "%", 2) },
              { kind: "action", name: "W" },
            ],
          },
        ],
      },
    ]);
  });

  test("a kernel's body is a block of statements", () => {
    expect(
      read("kernel k<A: float>(x: A[N]) -> A[N] implements f {\n  let t = load(x)\n  store(t)\n  t\n}"),
    ).toMatchObject([
      {
        kind: "kernel",
        name: "k",
        implements: "f",
        body: { statements: [{ kind: "let" }, { kind: "do" }], result: "t" },
      },
    ]);
  });

  test("every soft keyword is a name where a name is expected", () => {
    const words =
      "dim mesh module param state rank phase stage tile import on by from after every kernel overlap const".split(
        " ",
      );
    const lets = words.map((word) => `  let ${word} = ${word}.${word}[${word}]`).join("\n");
    expect(
      read(`fn f(${words.map((word) => `${word}: f32`).join(", ")}) {\n${lets}\n  phase\n}`),
    ).toHaveLength(1);
  });
});

describe("doc comments", () => {
  const docs = (text: string): unknown => {
    const { file } = parse(text);
    return [file.doc, ...file.declarations.map((decl) => decl.doc)];
  };
  test("the first in a file is the file's, the others are the next declaration's", () => {
    expect(docs("/// The file.\n///   Two lines.\ndim N\n/// On M.\ndim M")).toEqual([
      "The file.\n  Two lines.",
      undefined,
      "On M.",
    ]);
  });
  test("after a blank line the file's comment is over", () => {
    expect(docs("/// The file.\n\n/// On N.\ndim N")).toEqual(["The file.", "On N."]);
  });
  test("after a plain comment none is the file's", () => {
    expect(docs("// Plain.\n/// On N.\n// Between.\ndim N\n//// Not one.\ndim M")).toEqual([
      undefined,
      "On N.",
      undefined,
    ]);
  });
});
