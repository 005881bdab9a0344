/** Kernels of a cluster: multicast, remote shared memory, asynchronous stores. */
import { entry, wait, advance, floats, expectNear, asF32, asU32, pointers, inOut } from "./kernel-text.mjs";

/** A cluster of two: each block loads half of every tile and multicasts it to both; slots are released to both. */
export function multicastRing(tiles = 5, stages = 2) {
  const input = floats(128 * tiles, (k) => (k * 13) % 59);
  return {
    name: "multicast-ring",
    ptx: entry(
      inOut,
      `.shared .align 128 .b8 ring[${512 * stages}]; .shared .align 8 .b8 bars[${16 * stages}];`,
      `${pointers}
      mov.u32 base, ring;
      mov.u32 bar, bars;
      mov.u32 r60, %cluster_ctarank;
      setp.ne.u32 p0, tid, 0;
      @p0 bra READY;
      ${Array.from({ length: stages }, (_, s) => `mbarrier.init.shared::cta.b64 [bar+${8 * s}], 1;\nmbarrier.init.shared::cta.b64 [bar+${8 * (stages + s)}], 8;`).join("\n")}
      fence.mbarrier_init.release.cluster;
      READY:
      barrier.cluster.arrive.release.aligned;
      barrier.cluster.wait.acquire.aligned;
      mov.u32 stage, 0;
      mov.u32 i, 0;
      setp.ne.u32 p1, warp, 0;
      @p1 bra CONSUMER;
      @p0 bra DONE;
      mov.u32 phase, 1;
      mul.wide.u32 d0, r60, 256;
      add.u64 d0, in, d0;
      shl.b32 r61, r60, 8;
      mov.b16 h0, 3;
      PRODUCE:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      ${wait("empty", "phase")}
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], 512;
      mad.lo.u32 r1, stage, 512, base;
      add.u32 r1, r1, r61;
      cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [r1], [d0], 256, [full], h0;
      add.u64 d0, d0, 512;
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
      setp.lt.u32 p3, lane, 2;
      CONSUME:
      shl.b32 r0, stage, 3;
      add.u32 full, bar, r0;
      add.u32 empty, full, ${8 * stages};
      mapa.shared::cluster.u32 r62, empty, lane;
      ${wait("full", "phase")}
      mad.lo.u32 r1, stage, 512, base;
      add.u32 r1, r1, r11;
      ld.shared.f32 f1, [r1];
      add.f32 f0, f0, f1;
      bar.warp.sync -1;
      @p3 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [r62];
      ${advance(stages)}
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${tiles};
      @p2 bra CONSUME;
      mad.lo.u32 r12, r60, 512, r11;
      cvt.u64.u32 d1, r12;
      add.u64 d1, out, d1;
      st.global.f32 [d1], f0;
      DONE:
      bar.warp.sync -1;
      barrier.cluster.arrive.release.aligned;
      barrier.cluster.wait.acquire.aligned;`,
    ),
    grid: 2,
    block: 160,
    cluster: 2,
    args: [{ in: input }, { out: 1024 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asF32(out),
        Array.from({ length: 256 }, (_, t) =>
          Array.from({ length: tiles }, (_, k) => input[128 * k + (t % 128)]).reduce((x, y) => x + y, 0),
        ),
        "sum",
      ),
  };
}

/** Blocks of a cluster write into each other's shared memory. */
export function remoteStores() {
  return {
    name: "remote-stores",
    ptx: entry(
      ".param .u64 pOut",
      ".shared .align 16 .b8 mail[128];",
      `ld.param.u64 out, [pOut];
      mov.u32 base, mail;
      mov.u32 r0, %cluster_ctarank;
      add.u32 r1, r0, 1;
      and.b32 r1, r1, 3;
      mapa.shared::cluster.u32 r2, base, r1;
      shl.b32 r3, lane, 2;
      add.u32 r2, r2, r3;
      mad.lo.u32 r4, r0, 1000, lane;
      barrier.cluster.arrive.relaxed.aligned;
      barrier.cluster.wait.aligned;
      st.shared::cluster.u32 [r2], r4;
      barrier.cluster.arrive.release.aligned;
      barrier.cluster.wait.acquire.aligned;
      add.u32 r5, base, r3;
      ld.shared.u32 r6, [r5];
      mad.lo.u32 r7, r0, 32, lane;
      mul.wide.u32 d0, r7, 4;
      add.u64 d0, out, d0;
      st.global.u32 [d0], r6;`,
    ),
    grid: 4,
    block: 32,
    cluster: 4,
    args: [{ out: 512 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asU32(out),
        Array.from({ length: 128 }, (_, t) => ((Math.floor(t / 32) + 3) % 4) * 1000 + (t % 32)),
        "mail",
      ),
  };
}

/** The same by st.async: the receiver waits for bytes, not for a barrier. */
export function asyncStores() {
  return {
    name: "async-stores",
    ptx: entry(
      ".param .u64 pOut",
      ".shared .align 16 .b8 mail[128]; .shared .align 8 .b8 bars[8];",
      `ld.param.u64 out, [pOut];
      mov.u32 base, mail;
      mov.u32 bar, bars;
      mov.u32 r0, %cluster_ctarank;
      xor.b32 r1, r0, 1;
      setp.ne.u32 p0, tid, 0;
      @p0 bra READY;
      mbarrier.init.shared::cta.b64 [bar], 1;
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 128;
      fence.mbarrier_init.release.cluster;
      READY:
      barrier.cluster.arrive.release.aligned;
      barrier.cluster.wait.acquire.aligned;
      mapa.shared::cluster.u32 r2, base, r1;
      mapa.shared::cluster.u32 r3, bar, r1;
      shl.b32 r4, lane, 2;
      add.u32 r2, r2, r4;
      mad.lo.u32 r5, r0, 1000, lane;
      st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [r2], r5, [r3];
      ${wait("bar", 0)}
      add.u32 r6, base, r4;
      ld.shared.u32 r7, [r6];
      mad.lo.u32 r8, r0, 32, lane;
      mul.wide.u32 d0, r8, 4;
      add.u64 d0, out, d0;
      st.global.u32 [d0], r7;
      barrier.cluster.arrive.release.aligned;
      barrier.cluster.wait.acquire.aligned;`,
    ),
    grid: 2,
    block: 32,
    cluster: 2,
    args: [{ out: 256 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asU32(out),
        Array.from({ length: 64 }, (_, t) => (1 - Math.floor(t / 32)) * 1000 + (t % 32)),
        "mail",
      ),
  };
}
