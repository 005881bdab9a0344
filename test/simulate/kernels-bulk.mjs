/** Kernels of bulk copies and mbarriers: rings and round trips. */
import {
  entry,
  wait,
  advance,
  floats,
  bf16,
  fromBf16,
  expectNear,
  asF32,
  asU16,
  pointers,
  inOut,
  scattered,
} from "./kernel-text.mjs";

/** A ring of bulk copies: one producer thread, two consumer warps, full and empty barriers. */
export function bulkRing(tiles = 8, stages = 3) {
  const input = floats(64 * tiles, (k) => (k * 11) % 83);
  return {
    name: "bulk-ring",
    ptx: entry(
      inOut,
      `.shared .align 128 .b8 ring[${256 * stages}]; .shared .align 8 .b8 bars[${16 * stages}];`,
      `${pointers}
      mov.u32 base, ring;
      mov.u32 bar, bars;
      setp.ne.u32 p0, tid, 0;
      @p0 bra READY;
      ${Array.from({ length: stages }, (_, s) => `mbarrier.init.shared::cta.b64 [bar+${8 * s}], 1;\nmbarrier.init.shared::cta.b64 [bar+${8 * (stages + s)}], 2;`).join("\n")}
      fence.mbarrier_init.release.cluster;
      READY:
      bar.sync 0;
      mov.u32 stage, 0;
      mov.u32 i, 0;
      setp.ne.u32 p1, warp, 0;
      @p1 bra CONSUMER;
      @p0 bra DONE;
      mov.u32 phase, 1;
      mov.u64 d0, in;
      PRODUCE:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      ${wait("empty", "phase")}
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], 256;
      mad.lo.u32 r1, stage, 256, base;
      cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [r1], [d0], 256, [full];
      add.u64 d0, d0, 256;
      ${advance(stages)}
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${tiles};
      @p2 bra PRODUCE;
      bra DONE;
      CONSUMER:
      mov.u32 phase, 0;
      sub.u32 r10, tid, 32;
      shl.b32 r11, r10, 2;
      mov.f32 f0, 0f00000000;
      setp.eq.u32 p3, lane, 0;
      CONSUME:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      ${wait("full", "phase")}
      mad.lo.u32 r1, stage, 256, base;
      add.u32 r1, r1, r11;
      ld.shared.f32 f1, [r1];
      add.f32 f0, f0, f1;
      bar.warp.sync -1;
      @p3 mbarrier.arrive.shared::cta.b64 _, [empty];
      ${advance(stages)}
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${tiles};
      @p2 bra CONSUME;
      cvt.u64.u32 d1, r11;
      add.u64 d1, out, d1;
      st.global.f32 [d1], f0;
      DONE:`,
    ),
    grid: 1,
    block: 96,
    args: [{ in: input }, { out: 256 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asF32(out),
        Array.from({ length: 64 }, (_, t) =>
          Array.from({ length: tiles }, (_, k) => input[64 * k + t]).reduce((x, y) => x + y, 0),
        ),
        "sum",
      ),
  };
}

/** A tile in, doubled in shared memory, and out again by a reduction: bulk copies both ways. */
export function bulkRoundTrip(rounds = 3) {
  const input = floats(128 * rounds, (k) => (k * 3) % 41);
  return {
    name: "bulk-round-trip",
    ptx: entry(
      inOut,
      ".shared .align 128 .b8 tile[512]; .shared .align 128 .b8 back[512]; .shared .align 8 .b8 bars[8];",
      `${pointers}
      mov.u32 base, tile;
      mov.u32 bar, bars;
      mov.u32 r9, back;
      setp.ne.u32 p0, tid, 0;
      @p0 bra READY;
      mbarrier.init.shared::cta.b64 [bar], 1;
      fence.mbarrier_init.release.cluster;
      READY:
      bar.sync 0;
      mov.u32 phase, 0;
      mov.u32 i, 0;
      mov.u64 d0, in;
      shl.b32 r0, tid, 2;
      add.u32 r1, base, r0;
      add.u32 r2, r9, r0;
      LOOP:
      @p0 bra LOADED;
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;
      cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [base], [d0], 512, [bar];
      cp.async.bulk.wait_group.read 0;
      LOADED:
      ${wait("bar", "phase")}
      xor.b32 phase, phase, 1;
      ld.shared.f32 f0, [r1];
      add.f32 f0, f0, f0;
      bar.sync 1, 128;
      st.shared.f32 [r2], f0;
      fence.proxy.async.shared::cta;
      bar.sync 2, 128;
      @p0 bra STORED;
      cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [out], [r9], 512;
      cp.async.bulk.commit_group;
      STORED:
      add.u64 d0, d0, 512;
      add.u32 i, i, 1;
      setp.lt.u32 p1, i, ${rounds};
      @p1 bra LOOP;
      @!p0 cp.async.bulk.wait_group 0;`,
    ),
    grid: 1,
    block: 128,
    args: [{ in: input }, { in: new Float32Array(128), written: true }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asF32(out),
        Array.from({ length: 128 }, (_, t) =>
          Array.from({ length: rounds }, (_, r) => 2 * input[128 * r + t]).reduce((x, y) => x + y, 0),
        ),
        "sum",
      ),
  };
}

/** GEMM 64 x 64 x 64 t: TMA ring of two stages, one math warpgroup, TMA store of the bf16 result. */
export function gemmRing(tiles = 4, stages = 2) {
  const K = 64 * tiles;
  const a = Array.from({ length: 64 * K }, (_, j) => scattered(j, 10) - 3);
  const b = Array.from({ length: 64 * K }, (_, j) => scattered(j, 20) - 3);
  const registers = Array.from({ length: 32 }, (_, j) => `acc${j}`).join(", ");
  const steps = [0, 1, 2, 3]
    .map(
      (s) =>
        `wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {${registers}}, d2${s}, d3${s}, ${s === 0 ? "p5" : "p7"}, 1, 1, 0, 0;`,
    )
    .join("\n");
  const stageBytes = 16384;
  const map = (of, rows, cols, box, swizzle) => ({
    map: { of, type: "bf16", dims: [cols, rows], strides: [2 * cols], box, swizzle },
  });
  return {
    name: "gemm-ring",
    ptx: entry(
      ".param .align 64 .b8 pA[128], .param .align 64 .b8 pB[128], .param .align 64 .b8 pD[128]",
      `.shared .align 8 .b8 bars[${16 * stages}]; .reg .f32 acc<32>;`,
      `mov.u32 base, memory;
      mov.u32 bar, bars;
      mov.b64 d1, pA;
      cvta.param.u64 d1, d1;
      mov.b64 d2, pB;
      cvta.param.u64 d2, d2;
      mov.b64 d3, pD;
      cvta.param.u64 d3, d3;
      setp.ne.u32 p0, tid, 128;
      @p0 bra READY;
      ${Array.from({ length: stages }, (_, s) => `mbarrier.init.shared::cta.b64 [bar+${8 * s}], 1;\nmbarrier.init.shared::cta.b64 [bar+${8 * (stages + s)}], 4;`).join("\n")}
      fence.proxy.async.shared::cta;
      READY:
      bar.sync 0;
      mov.u32 stage, 0;
      mov.u32 i, 0;
      setp.lt.u32 p1, warp, 4;
      @p1 bra MATH;
      @p0 bra DONE;
      mov.u32 phase, 1;
      PRODUCE:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      ${wait("empty", "phase")}
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], ${stageBytes};
      mad.lo.u32 r1, stage, ${stageBytes}, base;
      add.u32 r2, r1, 8192;
      shl.b32 r3, i, 6;
      cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [r1], [d1, {r3, 0}], [full];
      cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [r2], [d2, {r3, 0}], [full];
      ${advance(stages)}
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${tiles};
      @p2 bra PRODUCE;
      bra DONE;
      MATH:
      mov.u32 phase, 0;
      setp.eq.u32 p7, 0, 0;
      setp.ne.u32 p5, 0, 0;
      setp.eq.u32 p3, lane, 0;
      CONSUME:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      ${wait("full", "phase")}
      mad.lo.u32 r1, stage, ${stageBytes}, base;
      shr.u32 r1, r1, 4;
      and.b32 r1, r1, 0x3fff;
      cvt.u64.u32 d20, r1;
      or.b64 d20, d20, 0x4000004000010000;
      ${[1, 2, 3].map((s) => `add.u64 d2${s}, d20, ${2 * s};`).join("\n")}
      ${[0, 1, 2, 3].map((s) => `add.u64 d3${s}, d20, ${512 + 2 * s};`).join("\n")}
      wgmma.fence.sync.aligned;
      ${steps}
      wgmma.commit_group.sync.aligned;
      setp.eq.u32 p5, 0, 0;
      wgmma.wait_group.sync.aligned 0;
      @p3 mbarrier.arrive.shared::cta.b64 _, [empty];
      ${advance(stages)}
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${tiles};
      @p2 bra CONSUME;
      shl.b32 r30, warp, 4;
      shr.u32 r31, lane, 2;
      add.u32 r31, r31, r30;
      and.b32 r32, lane, 3;
      shl.b32 r33, r31, 7;
      mad.lo.u32 r33, r32, 4, r33;
      add.u32 r33, r33, base;
      add.u32 r33, r33, ${stages * stageBytes};
      ${Array.from({ length: 8 }, (_, g) => `cvt.rn.bf16x2.f32 r50, acc${4 * g + 1}, acc${4 * g};\nst.shared.b32 [r33+${16 * g}], r50;\ncvt.rn.bf16x2.f32 r51, acc${4 * g + 3}, acc${4 * g + 2};\nst.shared.b32 [r33+${1024 + 16 * g}], r51;`).join("\n")}
      fence.proxy.async.shared::cta;
      bar.sync 1, 128;
      setp.ne.u32 p4, tid, 0;
      @p4 bra DONE;
      add.u32 r52, base, ${stages * stageBytes};
      cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [d3, {0, 0}], [r52];
      cp.async.bulk.commit_group;
      cp.async.bulk.wait_group 0;
      DONE:`,
    ),
    grid: 1,
    block: 160,
    shared: stages * stageBytes + 8192,
    args: [
      map(3, 64, K, [64, 64], 128),
      map(4, 64, K, [64, 64], 128),
      map(5, 64, 64, [64, 64], 0),
      { in: Uint16Array.from(a, bf16), hidden: true },
      { in: Uint16Array.from(b, bf16), hidden: true },
      { out: 8192, hidden: true },
    ],
    exact: true,
    check: ([out]) =>
      expectNear(
        Array.from(asU16(out), fromBf16),
        Array.from({ length: 4096 }, (_, at) => {
          let sum = 0;
          for (let x = 0; x < K; x++) sum += a[(at >> 6) * K + x] * b[(at & 63) * K + x];
          return fromBf16(bf16(sum));
        }),
        "product",
      ),
  };
}
