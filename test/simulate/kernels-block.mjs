/** Kernels of one block without Hopper: barriers, cp.async, mma.sync, atomics. */
import { entry, floats, bf16, expectNear, asF32, asU32, pointers, inOut } from "./kernel-text.mjs";

/** A sum over a block: shuffles, shared memory, a barrier. */
export function blockSum() {
  const steps = [16, 8, 4, 2, 1]
    .map((n) => `shfl.sync.bfly.b32 f1, f0, ${n}, 31, -1;\nadd.f32 f0, f0, f1;`)
    .join("\n");
  const input = floats(256, (k) => (k * 37) % 101);
  return {
    name: "block-sum",
    ptx: entry(
      inOut,
      ".shared .align 16 .b8 partial[32];",
      `${pointers}
      mul.wide.u32 d0, tid, 4;
      add.u64 d0, in, d0;
      ld.global.f32 f0, [d0];
      ${steps}
      setp.eq.u32 p0, lane, 0;
      shl.b32 r0, warp, 2;
      mov.u32 r1, partial;
      add.u32 r0, r0, r1;
      @p0 st.shared.f32 [r0], f0;
      bar.sync 0;
      and.b32 r2, lane, 7;
      shl.b32 r2, r2, 2;
      add.u32 r2, r2, r1;
      ld.shared.f32 f0, [r2];
      shfl.sync.bfly.b32 f1, f0, 4, 31, -1;
      add.f32 f0, f0, f1;
      shfl.sync.bfly.b32 f1, f0, 2, 31, -1;
      add.f32 f0, f0, f1;
      shfl.sync.bfly.b32 f1, f0, 1, 31, -1;
      add.f32 f0, f0, f1;
      setp.eq.u32 p1, tid, 0;
      @p1 st.global.f32 [out], f0;`,
      "sm_80",
    ),
    grid: 1,
    block: 256,
    args: [{ in: input }, { out: 4 }],
    exact: true,
    check: ([out]) => expectNear(asF32(out), [input.reduce((a, b) => a + b, 0)], "sum"),
  };
}

/** Two named barriers: one half of the block fills a buffer, the other adds it up, round after round. */
export function namedBarriers(rounds = 4) {
  const input = floats(32 * rounds, (k) => k % 29);
  return {
    name: "named-barriers",
    ptx: entry(
      inOut,
      ".shared .align 16 .b8 buffer[128];",
      `${pointers}
      mov.u32 base, buffer;
      shl.b32 r0, lane, 2;
      add.u32 base, base, r0;
      mul.wide.u32 d0, lane, 4;
      mov.u32 i, 0;
      setp.ne.u32 p0, warp, 0;
      @p0 bra CONSUME;
      add.u64 d0, in, d0;
      PRODUCE:
      bar.sync 1, 64;
      ld.global.f32 f0, [d0];
      st.shared.f32 [base], f0;
      bar.arrive 2, 64;
      add.u64 d0, d0, 128;
      add.u32 i, i, 1;
      setp.lt.u32 p1, i, ${rounds};
      @p1 bra PRODUCE;
      bra DONE;
      CONSUME:
      mov.f32 f1, 0f00000000;
      NEXT:
      bar.arrive 1, 64;
      bar.sync 2, 64;
      ld.shared.f32 f0, [base];
      add.f32 f1, f1, f0;
      add.u32 i, i, 1;
      setp.lt.u32 p1, i, ${rounds};
      @p1 bra NEXT;
      add.u64 d0, out, d0;
      st.global.f32 [d0], f1;
      DONE:`,
      "sm_80",
    ),
    grid: 1,
    block: 64,
    args: [{ in: input }, { out: 128 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asF32(out),
        Array.from({ length: 32 }, (_, lane) =>
          Array.from({ length: rounds }, (_, r) => input[r * 32 + lane]).reduce((a, b) => a + b, 0),
        ),
        "lane",
      ),
  };
}

/** bf16 product 16 x 8 over k by double-buffered cp.async, ldmatrix and mma.sync, one warp. */
export function copyPipeline(tiles = 4) {
  const a = Array.from({ length: 16 * 16 * tiles }, (_, k) => ((k * 7) % 13) - 6);
  const b = Array.from({ length: 16 * 8 * tiles }, (_, k) => ((k * 5) % 11) - 5);
  // Tile t: 16 x 16 of A, then 16 x 8 of B (k by n), as the kernel copies it: 768 bytes.
  const tile = Array.from({ length: tiles }, (_, t) => [
    ...a.slice(256 * t, 256 * t + 256),
    ...b.slice(128 * t, 128 * t + 128),
  ]).flat();
  const load = `shl.b32 r0, lane, 4;
add.u32 r0, r0, r20;
cp.async.cg.shared.global [r0], [d1], 16;
@p0 cp.async.cg.shared.global [r0+512], [d1+512], 16;
cp.async.commit_group;
add.u64 d1, d1, 768;`;
  return {
    name: "copy-pipeline",
    ptx: entry(
      inOut,
      ".shared .align 128 .b8 tiles[1536];",
      `${pointers}
      mov.u32 base, tiles;
      setp.lt.u32 p0, lane, 16;
      mul.wide.u32 d1, lane, 16;
      add.u64 d1, in, d1;
      mov.u32 r20, base;
      ${load}
      mov.f32 f1, 0f00000000;
      mov.f32 f2, f1;
      mov.f32 f3, f1;
      mov.f32 f4, f1;
      and.b32 r5, lane, 15;
      shl.b32 r6, r5, 5;
      shr.u32 r7, lane, 4;
      shl.b32 r7, r7, 4;
      add.u32 r6, r6, r7;
      shl.b32 r8, r5, 4;
      mov.u32 i, 0;
      LOOP:
      and.b32 r21, i, 1;
      mad.lo.u32 r22, r21, 768, base;
      xor.b32 r21, r21, 1;
      mad.lo.u32 r20, r21, 768, base;
      setp.ge.u32 p1, i, ${tiles - 1};
      @p1 bra LAST;
      ${load}
      cp.async.wait_group 1;
      bra READY;
      LAST:
      cp.async.wait_group 0;
      READY:
      bar.warp.sync -1;
      add.u32 r23, r22, r6;
      ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r10, r11, r12, r13}, [r23];
      add.u32 r24, r22, r8;
      ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {r14, r15}, [r24+512];
      mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f1, f2, f3, f4}, {r10, r11, r12, r13}, {r14, r15}, {f1, f2, f3, f4};
      bar.warp.sync -1;
      add.u32 i, i, 1;
      setp.lt.u32 p1, i, ${tiles};
      @p1 bra LOOP;
      shr.u32 r7, lane, 2;
      and.b32 r8, lane, 3;
      shl.b32 r7, r7, 5;
      shl.b32 r8, r8, 3;
      add.u32 r7, r7, r8;
      cvt.u64.u32 d2, r7;
      add.u64 d2, out, d2;
      st.global.v2.f32 [d2], {f1, f2};
      st.global.v2.f32 [d2+256], {f3, f4};`,
      "sm_80",
    ),
    grid: 1,
    block: 32,
    args: [{ in: Uint16Array.from(tile, bf16) }, { out: 512 }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asF32(out),
        Array.from({ length: 128 }, (_, at) => {
          let sum = 0;
          for (let t = 0; t < tiles; t++)
            for (let k = 0; k < 16; k++)
              sum += a[256 * t + (at >> 3) * 16 + k] * b[128 * t + k * 8 + (at & 7)];
          return sum;
        }),
        "product",
      ),
  };
}

/** The last block to finish adds up what the others wrote: release and acquire through an atomic. */
export function lastBlock(blocks = 4) {
  return {
    name: "last-block",
    ptx: entry(
      ".param .u64 pOut, .param .u64 pPartial, .param .u64 pTicket",
      ".shared .align 4 .b8 flag[4];",
      `ld.param.u64 out, [pOut];
      ld.param.u64 d10, [pPartial];
      ld.param.u64 d11, [pTicket];
      mov.u32 r1, %ctaid.x;
      mad.lo.u32 r2, r1, 32, tid;
      mul.wide.u32 d0, r2, 4;
      add.u64 d0, d10, d0;
      mul.lo.u32 r3, r2, 3;
      st.global.u32 [d0], r3;
      bar.sync 0;
      setp.ne.u32 p0, tid, 0;
      @p0 bra WAIT;
      fence.acq_rel.gpu;
      atom.relaxed.gpu.global.add.u32 r4, [d11], 1;
      fence.acq_rel.gpu;
      st.shared.u32 [flag], r4;
      WAIT:
      bar.sync 0;
      ld.shared.u32 r5, [flag];
      setp.ne.u32 p1, r5, ${blocks - 1};
      @p1 bra DONE;
      mov.u32 r6, 0;
      mul.wide.u32 d1, tid, 4;
      add.u64 d2, d10, d1;
      mov.u32 i, 0;
      SUM:
      ld.global.u32 r7, [d2];
      add.u32 r6, r6, r7;
      add.u64 d2, d2, 128;
      add.u32 i, i, 1;
      setp.lt.u32 p2, i, ${blocks};
      @p2 bra SUM;
      add.u64 d3, out, d1;
      st.global.u32 [d3], r6;
      DONE:`,
      "sm_80",
    ),
    grid: blocks,
    block: 32,
    args: [{ out: 128 }, { out: 128 * blocks }, { in: new Uint32Array(4), written: true }],
    exact: true,
    check: ([out]) =>
      expectNear(
        asU32(out),
        Array.from({ length: 32 }, (_, t) =>
          Array.from({ length: blocks }, (_, b) => 3 * (32 * b + t)).reduce((x, y) => x + y, 0),
        ),
        "sum",
      ),
  };
}
