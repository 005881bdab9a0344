/** Instructions of a warp as a whole, and of memory: what each lane gets, by hand from the PTX ISA manual. */
import { describe, expect, test } from "vitest";
import { renderFinding } from "../../runtime/simulate/index.ts";
import { kernel, run } from "./harness.ts";

const lanes = Array.from({ length: 32 }, (_, lane) => lane);
const input = Uint32Array.from({ length: 64 }, (_, i) => i * 3 + 1);

interface Case {
  readonly name: string;
  /** Leaves the result in r0. */
  readonly body: string;
  readonly wanted: (lane: number) => number;
}

const store = "mul.wide.u32 d0, tid, 4;\nadd.u64 d0, out, d0;\nst.global.u32 [d0], r0;";
const memory = ".shared .align 128 .b8 memory[1024]; .reg .b32 a<8>; .reg .pred pw;";

const cases: readonly Case[] = [
  { name: "shfl.idx", body: "shfl.sync.idx.b32 r0, tid, 5, 31, -1;", wanted: () => 5 },
  {
    name: "shfl.idx within segments of 8",
    body: "shfl.sync.idx.b32 r0, tid, 3, 0x181f, -1;",
    wanted: (l) => (l & 24) + 3,
  },
  { name: "shfl.up", body: "shfl.sync.up.b32 r0, tid, 2, 0, -1;", wanted: (l) => (l < 2 ? l : l - 2) },
  {
    name: "shfl.down with its predicate",
    body: "shfl.sync.down.b32 r0|p0, tid, 4, 31, -1;\n@!p0 mov.u32 r0, 99;",
    wanted: (l) => (l + 4 > 31 ? 99 : l + 4),
  },
  { name: "shfl.bfly within 16", body: "shfl.sync.bfly.b32 r0, tid, 8, 0x101f, -1;", wanted: (l) => l ^ 8 },
  {
    name: "vote.ballot",
    body: "setp.lt.u32 p0, lane, 5;\nvote.sync.ballot.b32 r0, p0, -1;",
    wanted: () => 31,
  },
  {
    name: "vote.all",
    body: "setp.lt.u32 p0, lane, 5;\nvote.sync.all.pred p1, p0, -1;\nselp.b32 r0, 1, 0, p1;",
    wanted: () => 0,
  },
  {
    name: "vote.any of a negated predicate",
    body: "setp.lt.u32 p0, lane, 32;\nvote.sync.any.pred p1, !p0, -1;\nselp.b32 r0, 1, 0, p1;",
    wanted: () => 0,
  },
  {
    name: "vote.uni",
    body: "setp.lt.u32 p0, lane, 32;\nvote.sync.uni.pred p1, p0, -1;\nselp.b32 r0, 1, 0, p1;",
    wanted: () => 1,
  },
  {
    name: "match.any",
    body: "and.b32 r1, lane, 3;\nmatch.any.sync.b32 r0, r1, -1;",
    wanted: (l) => (0x11111111 << (l & 3)) >>> 0,
  },
  { name: "match.all", body: "mov.u32 r1, 7;\nmatch.all.sync.b32 r0|p0, r1, -1;", wanted: () => 0xffffffff },
  { name: "redux.add", body: "redux.sync.add.u32 r0, tid, -1;", wanted: () => 496 },
  {
    name: "redux.min of signed",
    body: "sub.u32 r1, tid, 7;\nredux.sync.min.s32 r0, r1, -1;",
    wanted: () => 0xfffffff9,
  },
  {
    name: "redux.max of unsigned",
    body: "sub.u32 r1, tid, 7;\nredux.sync.max.u32 r0, r1, -1;",
    wanted: () => 0xffffffff,
  },
  { name: "redux.xor", body: "redux.sync.xor.b32 r0, tid, -1;", wanted: () => 0 },
  {
    name: "elect.sync",
    body: "elect.sync r1|p0, -1;\nselp.b32 r0, 1, 0, p0;",
    wanted: (l) => (l === 0 ? 1 : 0),
  },
  {
    name: "activemask under a branch",
    body: "mov.u32 r0, 0;\nsetp.ge.u32 p0, lane, 8;\n@p0 bra JOIN;\nactivemask.b32 r0;\nJOIN:",
    wanted: (l) => (l < 8 ? 255 : 0),
  },
  {
    name: "divergent loop",
    body: "mov.u32 r0, 0;\nLOOP: add.u32 r0, r0, 1;\nsetp.le.u32 p0, r0, lane;\n@p0 bra LOOP;",
    wanted: (l) => l + 1,
  },
  {
    name: "nested divergence",
    body: "mov.u32 r0, 1;\nsetp.lt.u32 p0, lane, 16;\n@p0 bra LOW;\nadd.u32 r0, r0, 10;\nsetp.lt.u32 p1, lane, 24;\n@p1 bra JOIN;\nadd.u32 r0, r0, 100;\nbra JOIN;\nLOW: setp.lt.u32 p1, lane, 4;\n@p1 bra JOIN;\nadd.u32 r0, r0, 1000;\nJOIN: shfl.sync.idx.b32 r1, r0, 0, 31, -1;\nadd.u32 r0, r0, r1;",
    wanted: (l) => 2 + (l < 4 ? 0 : l < 16 ? 1000 : l < 24 ? 10 : 110),
  },
  {
    name: "brx.idx",
    body: "and.b32 r1, lane, 1;\nmov.u32 r0, 0;\nTABLE: .branchtargets ONE, TWO;\nbrx.idx r1, TABLE;\nONE: mov.u32 r0, 11;\nbra JOIN;\nTWO: mov.u32 r0, 22;\nJOIN:",
    wanted: (l) => (l & 1 ? 22 : 11),
  },
  {
    name: "atom.add returns what was there",
    body: "setp.ne.u32 p0, lane, 3;\nmov.u32 r0, 77;\n@p0 bra JOIN;\natom.global.add.u32 r0, [in+8], 100;\nJOIN:",
    wanted: (l) => (l === 3 ? 7 : 77),
  },
  {
    name: "atom.cas that fails, and one that does not",
    body: "setp.ne.u32 p0, lane, 0;\nmov.u32 r0, 0;\n@p0 bra JOIN;\natom.global.cas.b32 r1, [in], 2, 9;\natom.global.cas.b32 r2, [in], 1, 5;\nld.relaxed.gpu.global.u32 r3, [in];\nmad.lo.u32 r0, r1, 100, r2;\nmad.lo.u32 r0, r0, 100, r3;\nJOIN:",
    wanted: (l) => (l === 0 ? 10105 : 0),
  },
  {
    name: "red.max and exch of signed",
    body: "red.global.max.s32 [in], -5;\nbar.warp.sync -1;\nld.relaxed.gpu.global.u32 r0, [in];",
    wanted: () => 1,
  },
  {
    name: "atom.inc wraps",
    body: "setp.ne.u32 p0, lane, 0;\n@p0 bra JOIN;\natom.global.inc.u32 r1, [in+4], 4;\nJOIN: bar.warp.sync -1;\nld.relaxed.gpu.global.u32 r0, [in+4];",
    wanted: () => 0,
  },
  {
    name: "atom.add.f32 of all lanes",
    body: "red.global.add.f32 [in+128], 0f3F800000;\nbar.warp.sync -1;\nld.relaxed.gpu.global.f32 f0, [in+128];\ncvt.rzi.u32.f32 r0, f0;",
    wanted: () => 32,
  },
  {
    name: "red.add.noftz.bf16x2",
    body: "setp.ne.u32 p0, lane, 0;\nmov.b32 r1, 0;\n@p0 bra JOIN;\nst.global.b32 [in], r1;\nmov.b32 r2, 0x40003f80;\nred.global.add.noftz.bf16x2 [in], r2;\nred.global.add.noftz.bf16x2 [in], r2;\nJOIN: bar.warp.sync -1;\nld.relaxed.gpu.global.u32 r0, [in];",
    wanted: () => 0x40804000,
  },
  {
    name: "ld.v4, narrow signed loads",
    body: "ld.global.v4.u32 {r1, r2, r3, r4}, [in+16];\nst.shared.u32 [memory], 0x80ff;\nbar.warp.sync -1;\nld.shared.s16 r5, [memory];\nld.shared.u8 r6, [memory];\nadd.u32 r0, r4, r5;\nadd.u32 r0, r0, r6;",
    wanted: () => (22 + (0x80ff - 65536) + 255) >>> 0,
  },
  {
    name: "pack and unpack",
    body: "mov.b64 d0, {tid, lane};\nmov.b64 {r1, r2}, d0;\nmov.b32 {h0, h1}, 0x00050003;\nmov.b32 r3, {h1, h0};\nadd.u32 r0, r1, r2;\nadd.u32 r0, r0, r3;",
    wanted: (l) => 2 * l + 0x30005,
  },
  {
    name: "generic addresses",
    body: "mov.u64 d1, memory;\ncvta.shared.u64 d1, d1;\nst.u32 [d1], 41;\nbar.warp.sync -1;\nisspacep.shared p0, d1;\nisspacep.global p1, in;\ncvta.to.shared.u64 d2, d1;\ncvt.u32.u64 r1, d2;\nld.shared.u32 r0, [r1];\n@p0 add.u32 r0, r0, 1;\n@p1 add.u32 r0, r0, 100;",
    wanted: () => 142,
  },
  {
    name: "local memory of each thread",
    body: ".local .align 4 .b8 mine[16];\nmov.u64 d1, mine;\ncvta.local.u64 d2, d1;\nst.local.u32 [d1+4], tid;\nld.u32 r0, [d2+4];",
    wanted: (l) => l,
  },
  {
    name: "movmatrix",
    body: "and.b32 r1, lane, 3;\nshl.b32 r2, r1, 1;\nshr.u32 r3, lane, 2;\nmad.lo.u32 r4, r3, 8, r2;\nadd.u32 r5, r4, 1;\nshl.b32 r5, r5, 16;\nor.b32 r4, r4, r5;\nmovmatrix.sync.aligned.m8n8.trans.b16 r0, r4;",
    wanted: (l) => (((l & 3) * 2 + 1) * 8 + (l >> 2)) * 65536 + (l & 3) * 16 + (l >> 2),
  },
  {
    name: "stmatrix then ldmatrix.trans",
    body: "and.b32 r1, lane, 7;\nshl.b32 r1, r1, 4;\nmov.u32 r2, memory;\nadd.u32 r1, r1, r2;\nmad.lo.u32 r3, lane, 2, 1;\nshl.b32 r3, r3, 16;\nshl.b32 r4, lane, 1;\nor.b32 r3, r3, r4;\nstmatrix.sync.aligned.m8n8.x1.shared.b16 [r1], {r3};\nbar.warp.sync -1;\nldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {r0}, [r1];",
    wanted: (l) => (((l & 3) * 2 + 1) * 8 + (l >> 2)) * 65536 + (l & 3) * 16 + (l >> 2),
  },
  {
    name: "bar.red.popc and .or",
    body: "setp.lt.u32 p0, lane, 9;\nbar.red.popc.u32 r0, 0, p0;\nbar.red.or.pred p1, 0, p0;\n@p1 add.u32 r0, r0, 100;\nbar.red.and.pred p2, 0, p0;\n@p2 add.u32 r0, r0, 1000;",
    wanted: () => 109,
  },
  {
    name: "special registers",
    body: "mov.u32 r1, %laneid;\nmov.u32 r2, %ntid.x;\nmov.u32 r3, %lanemask_lt;\npopc.b32 r3, r3;\nmov.u32 r4, WARP_SZ;\nadd.u32 r0, r1, r2;\nadd.u32 r0, r0, r3;\nadd.u32 r0, r0, r4;",
    wanted: (l) => 2 * l + 64,
  },
];

describe("warp and memory instructions", () => {
  test.each(cases.map((c) => [c.name, c] as const))("%s", (_, { body, wanted }) => {
    const local = /^\.local[^\n]*\n/.exec(body)?.[0] ?? "";
    const ptx = kernel(`${body.slice(local.length)}\n${store}`, { declarations: `${memory} ${local}` });
    for (const seed of [0, 3]) {
      const { report, out } = run(ptx, input, 128, {}, { seed });
      expect(report.findings.map(renderFinding)).toEqual([]);
      expect([...new Uint32Array(out.slice().buffer)]).toEqual(lanes.map((lane) => wanted(lane) >>> 0));
    }
  });
});
