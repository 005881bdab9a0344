/** The search for violations of channel protocols: what the schedules make holds, planted mistakes are found. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkProtocol, violationText, type Violation } from "../../compiler/tile/protocol.ts";
import { compile } from "../../compiler/compile.ts";
import * as t from "../../compiler/tile/build.ts";
import type { Channel, Role, TileOp, TileProgram } from "../../compiler/tile/ir.ts";
import { overlap } from "../../compiler/tile/overlap.ts";
import { parse } from "../../compiler/tile/parse.ts";
import { partition } from "../../compiler/tile/partition.ts";
import { print } from "../../compiler/tile/print.ts";
import { verify } from "../../compiler/tile/verify.ts";
import { bodiesOf, withBodies } from "../../compiler/tile/walk.ts";
import { ptx } from "../../compiler/targets/ptx/index.ts";
import { constant, symbol } from "../../compiler/types/dim.ts";
import type { LoopNode } from "../../compiler/tensor/ir.ts";
import { schedule } from "../../compiler/tile/schedule/choose.ts";
import type { KernelSource } from "../../compiler/tile/schedule/source.ts";
import { testHost } from "../check/host.ts";
import { streamedWith } from "./agreement.ts";
import { everyInterleaving, plainProgram, randomRoles, type Op } from "./plain-roles.ts";
import { longProducts, matrixProducts, type Sample } from "./random-loops.ts";

const caps = ptx.caps("sm_90a");

/** A ring of slots that one role fills and another multiplies from, for an unknown number of steps of unknown tiles. */
function ring(
  depth: number,
  change: (body: TileOp[], channel: Channel) => TileOp[] = (body) => body,
): TileProgram {
  const b = new t.TileBuilder();
  const left = b.slotTile("left", "bf16", [1, 64, 64], { swizzle: 128 });
  const right = b.slotTile("right", "bf16", [1, 64, 64], { swizzle: 128 });
  const channel = b.channel("factors", depth, [left, right]);
  const worker = b.counter("worker", constant(132));
  const tile = b.counter("tile", symbol("T"));
  const step = b.counter("step", symbol("K"));
  const acc = b.tile("acc", "f32", []);
  const body: TileOp[] = [
    { kind: "fill", channel, copies: [], body: [] },
    { kind: "take", channel },
    {
      kind: "mma",
      acc,
      a: { tile: left, order: "k" },
      b: { tile: right, order: "k" },
      m: t.int(0),
      n: t.int(0),
      accumulate: undefined,
      instruction: "wgmma.m64n64k16.bf16.k.k",
    },
    { kind: "await", pending: 0 },
    { kind: "release", channel, where: undefined },
  ];
  const sequential: TileProgram = {
    name: "ring",
    summary: "",
    threads: 128,
    blocks: [worker],
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body: [
      {
        kind: "persistent",
        worker,
        counters: [tile],
        body: [
          {
            kind: "for",
            counter: step,
            from: undefined,
            below: undefined,
            unroll: false,
            body: change(body, channel),
          },
        ],
      },
    ],
  };
  return partition(overlap(sequential), {
    copy: { threads: 128, registers: undefined },
    math: { threads: 128, registers: undefined },
  });
}

/** The program with each op of a role replaced by those that `change` gives. */
function mutated(program: TileProgram, name: string, change: (op: TileOp) => readonly TileOp[]): TileProgram {
  const walk = (ops: readonly TileOp[]): TileOp[] =>
    ops.flatMap((op) => change(withBodies(op, bodiesOf(op).map(walk))));
  const role = (one: Role): Role => (one.name === name ? { ...one, body: walk(one.body) } : one);
  return {
    ...program,
    body: program.body.map((op) => (op.kind === "roles" ? { ...op, roles: op.roles.map(role) } : op)),
  };
}

const without =
  (kind: TileOp["kind"]) =>
  (op: TileOp): readonly TileOp[] =>
    op.kind === kind ? [] : [op];

const twice =
  (kind: TileOp["kind"]) =>
  (op: TileOp): readonly TileOp[] =>
    op.kind === kind ? [op, op] : [op];

/** Neighbours of these kinds change places. */
function swapped(
  program: TileProgram,
  name: string,
  first: TileOp["kind"],
  second: TileOp["kind"],
): TileProgram {
  const swap = (ops: readonly TileOp[]): TileOp[] => {
    const list = ops.map((op) => withBodies(op, bodiesOf(op).map(swap)));
    for (let k = 0; k + 1 < list.length; k++) {
      const [a, b] = [list[k], list[k + 1]];
      if (a?.kind !== first || b?.kind !== second) continue;
      list.splice(k, 2, b, a);
      k += 1;
    }
    return list;
  };
  const role = (one: Role): Role => (one.name === name ? { ...one, body: swap(one.body) } : one);
  return {
    ...program,
    body: program.body.map((op) => (op.kind === "roles" ? { ...op, roles: op.roles.map(role) } : op)),
  };
}

function sourceOf({ arena, node }: Sample): KernelSource<LoopNode> {
  return {
    arena,
    node,
    name: "sample",
    summary: "",
    inputNames: node.inputs.map((_, k) => `in${k}`),
    outputNames: node.results.map((_, k) => `out${k}`),
    place: undefined,
  };
}

function found(program: TileProgram): Pick<Violation, "kind" | "role" | "channel"> | undefined {
  const violation = checkProtocol(program);
  return violation && { kind: violation.kind, role: violation.role, channel: violation.channel };
}

describe("protocols of roles", () => {
  it("hold for rings of two slots and more, whatever the trip counts", () => {
    for (const depth of [2, 3, 4, 8]) expect(found(ring(depth))).toBeUndefined();
  });

  it("are stuck where a product under way keeps the only slot", () => {
    const violation = checkProtocol(ring(1));
    expect(violation).toMatchObject({ kind: "stuck", channel: "factors" });
    expect(violation && violationText(violation)).toMatchInlineSnapshot(`
      "role math is stuck: math waits to take factors, copy waits to fill factors
        math begins an iteration of tile
        math begins an iteration of step
        copy begins an iteration of tile
        copy begins an iteration of step
        copy fills a slot of factors
        math takes a slot of factors
        math releases a slot of factors
        math begins an iteration of tile
        math begins an iteration of step
        copy begins an iteration of tile
        copy begins an iteration of step
        copy fills a slot of factors
        math takes a slot of factors
        math begins an iteration of step
        copy begins an iteration of step"
    `);
  });

  it("hold for one slot where each product is waited for", () => {
    const patient = ring(1, (body) => body.map((op) => (op.kind === "mma" ? { ...op } : op)).toSpliced(3, 1));
    // Without a wait the product is done when it is issued, and nothing overlaps.
    expect(found(patient)).toBeUndefined();
  });

  const planted: Readonly<Record<string, readonly [TileProgram, Violation["kind"], string]>> = {
    "a release that is missing": [mutated(ring(3), "math", without("release")), "left-over", "math"],
    "a release too many": [mutated(ring(3), "math", twice("release")), "released-untaken", "math"],
    "a take that is missing": [mutated(ring(3), "math", without("take")), "read-untaken", "math"],
    "a take too many": [mutated(ring(3), "math", twice("take")), "stuck", "math"],
    "a fill that is missing": [mutated(ring(3), "copy", without("fill")), "stuck", "math"],
    "a fill too many": [mutated(ring(3), "copy", twice("fill")), "left-over", "math"],
    "a release before the wait": [swapped(ring(3), "math", "await", "release"), "released-in-use", "math"],
    "a read before the take": [swapped(ring(3), "math", "take", "mma"), "read-untaken", "math"],
    "no wait after the last product": [
      mutated(ring(3), "math", (op) => (op.kind === "await" && op.pending === 0 ? [] : [op])),
      "released-in-use",
      "math",
    ],
    "a release in each iteration though the first has no product before": [
      mutated(ring(3), "math", (op) => (op.kind === "release" ? [{ ...op, where: undefined }] : [op])),
      "released-in-use",
      "math",
    ],
  };
  for (const [name, [program, kind, role]] of Object.entries(planted)) {
    it(`find ${name}`, () => expect(found(program)).toMatchObject({ kind, role, channel: "factors" }));
  }

  it("hold for products that stream through reductions, and find what is changed there", () => {
    const text = readFileSync(new URL("../bench/programs/attention.dsl", import.meta.url), "utf8");
    const { fused, graph } = compile({
      source: { file: "attention.dsl", text },
      host: testHost(),
      entry: "causal",
      target: "ptx",
      dims: new Map(Object.entries({ B: 1, S: 512, T: 512, H: 2, D: 128, Dv: 128 })),
      dtypes: new Map(),
    });
    const node = fused?.results[0]?.value.node;
    if (graph === undefined || node?.kind !== "loop") throw new Error("one loop");
    const program = schedule(sourceOf({ arena: graph.arena, node, dims: new Map() }), caps);
    expect(program.channels.length).toBeGreaterThan(1);
    expect(print(parse(print(program)))).toBe(print(program));
    expect(found(program)).toBeUndefined();
    const impatient = mutated(program, "math", (op) =>
      op.kind === "await" ? [{ ...op, pending: op.pending + 1 }] : [op],
    );
    expect(found(impatient)?.kind).toBe("released-in-use");
    const [first] = program.channels;
    const forgotten = mutated(program, "copy", (op) =>
      op.kind === "fill" && op.channel === first ? [] : [op],
    );
    expect(found(forgotten)).toMatchObject({ kind: "stuck", channel: first?.name });
  });

  it("find channels that are filled in another order than their slots are given back", () => {
    const uses: readonly Op[] = ["take 0", "take 1", "release 0", "release 1"];
    const inTurn: readonly Op[] = ["fill 0", "fill 1", "fill 0", "fill 1"];
    const inPairs: readonly Op[] = ["fill 0", "fill 0", "fill 1", "fill 1"];
    const both = [...uses, ...uses];
    expect(
      found(
        plainProgram({
          depths: [1, 1],
          roles: [
            [[], both, []],
            [[], inTurn, []],
          ],
        }),
      ),
    ).toBeUndefined();
    expect(
      found(
        plainProgram({
          depths: [1, 1],
          roles: [
            [[], both, []],
            [[], inPairs, []],
          ],
        }),
      )?.kind,
    ).toBe("stuck");
    expect(
      found(
        plainProgram({
          depths: [2, 2],
          roles: [
            [[], both, []],
            [[], inPairs, []],
          ],
        }),
      ),
    ).toBeUndefined();
  });

  it("take what is handed over, not what is filled to be handed over later", () => {
    const answers: readonly Op[] = ["take 0", "release 0", "fill 1"];
    const roles = (asks: readonly Op[]): TileProgram =>
      plainProgram({
        depths: [1, 1],
        roles: [
          [[], asks, []],
          [[], answers, []],
        ],
      });
    expect(found(roles(["claim 0", "commit 0", "take 1", "release 1"]))).toBeUndefined();
    const late = roles(["claim 0", "take 1", "release 1", "commit 0"]);
    expect(found(late)?.kind).toBe("stuck");
    // And one that is never handed over, or twice, is refused before.
    expect(verify(roles(["claim 0", "take 1", "release 1"])).join()).toContain("do not hand c0 over");
    expect(verify(roles(["fill 0", "commit 0"])).join()).toContain("nothing of c0 is to be handed over");
    expect(verify(roles(["claim 0", "claim 0", "commit 0"])).join()).toContain(
      "a slot that is not handed over",
    );
    expect(print(parse(print(late)))).toBe(print(late));
  });

  it("know that a loop of one place is run once at most, wherever it ends", () => {
    const file = "test/bench/programs/grouped.dsl";
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    const { artifact, diagnostics } = compile({
      source: { file, text },
      host: testHost(),
      entry: "masked",
      target: "ptx:sm_90a",
      dims: new Map(Object.entries({ E: 3, T: 64, N: 128, K: 128 })),
      dtypes: new Map(),
    });
    expect([diagnostics, artifact?.files.size]).toEqual([[], 1]);
  });

  it("are judged as by all interleavings for each trip count, on random roles", () => {
    let [good, bad] = [0, 0];
    fc.assert(
      fc.property(randomRoles, (sample) => {
        const kind = found(plainProgram(sample))?.kind;
        const all = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((trips) => [...everyInterleaving(sample, trips)]);
        if (kind === undefined) good += 1;
        else bad += 1;
        if (kind === undefined) expect(all).toEqual([]);
        else expect(all).toContain(kind);
      }),
      { numRuns: 300 },
    );
    expect([good > 20, bad > 20]).toEqual([true, true]);
  });

  it("hold for every streamed schedule, found in less than 20 ms each", () => {
    const times: number[] = [];
    const check = (program: TileProgram): void => {
      if (program.channels.length === 0) return;
      const start = performance.now();
      expect(checkProtocol(program)).toBeUndefined();
      times.push(performance.now() - start);
    };
    fc.assert(
      fc.property(matrixProducts, (sample) => check(schedule(sourceOf(sample), caps))),
      { numRuns: 30 },
    );
    fc.assert(
      fc.property(longProducts, (sample) => check(streamedWith({ shared: 1 })(sourceOf(sample), caps))),
      { numRuns: 20 },
    );
    expect(times.length).toBeGreaterThan(10);
    // The machine may be busy with other tests for a moment: the median.
    expect(times.toSorted((a, b) => a - b)[times.length >> 1]).toBeLessThan(20);
  });
});
