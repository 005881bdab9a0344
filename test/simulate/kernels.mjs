/**
 * Hand-written kernels that stand for what the ptx target emits, with inputs and how to launch them. Plain
 * JavaScript, so that the tests and the script that prepares a run on a GPU share them.
 *
 * A kernel is { name, ptx, grid, block, cluster?, shared?, args, check, exact }. Arguments: { in: typed array },
 * { out: bytes }, { u32 }, { f32 }, { map: { of: argument number, type, dims, strides, box, swizzle } }.
 * `check(outputs)` throws when the bytes of an output are not what arithmetic in f64 says.
 */

export const header = (target = "sm_90a") => `.version 8.5\n.target ${target}\n.address_size 64\n`;

let labels = 0;

const common = `.reg .pred p<10>, pw;
  .reg .b32 r<90>, tid, lane, warp, stage, phase, i, base, bar, full, empty;
  .reg .b64 d<40>, in, out;
  .reg .f32 f<40>;
  .reg .b16 h<8>;`;

const dynamic = ".extern .shared .align 1024 .b8 memory[];";

export function entry(params, declarations, body, target) {
  labels = 0;
  return `${header(target)}
${body.includes(" memory;") ? dynamic : ""}
.visible .entry test(${params})
{
  ${common}
  ${declarations}
  mov.u32 tid, %tid.x;
  and.b32 lane, tid, 31;
  shr.u32 warp, tid, 5;
${body
  .trim()
  .split("\n")
  .map((line) => `  ${line.trim()}`)
  .join("\n")}
  ret;
}
`;
}

/** Waits for the phase of a parity to be over. */
export const wait = (address, parity) => {
  const label = `W${labels++}`;
  return `${label}: mbarrier.try_wait.parity.shared::cta.b64 pw, [${address}], ${parity};\n@!pw bra ${label};`;
};

const advance = (stages) => `add.u32 stage, stage, 1;
setp.eq.u32 p9, stage, ${stages};
selp.b32 stage, 0, stage, p9;
@p9 xor.b32 phase, phase, 1;`;

export const floats = (n, of) => Float32Array.from({ length: n }, (_, k) => of(k));
export const bf16 = (x) => {
  const bits = new Uint32Array(new Float32Array([x]).buffer)[0];
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
};
export const fromBf16 = (bits) => new Float32Array(new Uint32Array([bits << 16]).buffer)[0];
const f16 = (x) => {
  // Small integers and quarters only: exact in f16.
  if (x === 0) return 0;
  const sign = x < 0 ? 0x8000 : 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  return sign | ((exponent + 15) << 10) | Math.round((Math.abs(x) / 2 ** exponent - 1) * 1024);
};
const small8 = (exponentBits, mantissaBits) => (x) => {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  const bias = 2 ** (exponentBits - 1) - 1;
  return (x < 0 ? 128 : 0) | ((exponent + bias) << mantissaBits) | Math.round((Math.abs(x) / 2 ** exponent - 1) * 2 ** mantissaBits);
};

function expectNear(got, wanted, what) {
  for (let k = 0; k < wanted.length; k++) if (got[k] !== wanted[k]) throw new Error(`${what}: element ${k} is ${got[k]} and should be ${wanted[k]}`);
}

const asF32 = (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
const asU32 = (bytes) => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
const asU16 = (bytes) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1);

const pointers = `ld.param.u64 in, [pIn];
ld.param.u64 out, [pOut];
cvta.to.global.u64 in, in;
cvta.to.global.u64 out, out;`;
const inOut = ".param .u64 pIn, .param .u64 pOut";

/** A sum over a block: shuffles, shared memory, a barrier. */
export function blockSum() {
  const steps = [16, 8, 4, 2, 1].map((n) => `shfl.sync.bfly.b32 f1, f0, ${n}, 31, -1;\nadd.f32 f0, f0, f1;`).join("\n");
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
        Array.from({ length: 32 }, (_, lane) => Array.from({ length: rounds }, (_, r) => input[r * 32 + lane]).reduce((a, b) => a + b, 0)),
        "lane",
      ),
  };
}

/** bf16 product 16 x 8 over k by double-buffered cp.async, ldmatrix and mma.sync, one warp. */
export function copyPipeline(tiles = 4) {
  const a = Array.from({ length: 16 * 16 * tiles }, (_, k) => ((k * 7) % 13) - 6);
  const b = Array.from({ length: 16 * 8 * tiles }, (_, k) => ((k * 5) % 11) - 5);
  // Tile t: 16 x 16 of A, then 16 x 8 of B (k by n), as the kernel copies it: 768 bytes.
  const tile = Array.from({ length: tiles }, (_, t) => [...a.slice(256 * t, 256 * t + 256), ...b.slice(128 * t, 128 * t + 128)]).flat();
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
          for (let t = 0; t < tiles; t++) for (let k = 0; k < 16; k++) sum += a[256 * t + (at >> 3) * 16 + k] * b[128 * t + k * 8 + (at & 7)];
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
        Array.from({ length: 32 }, (_, t) => Array.from({ length: blocks }, (_, b) => 3 * (32 * b + t)).reduce((x, y) => x + y, 0)),
        "sum",
      ),
  };
}

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
        Array.from({ length: 64 }, (_, t) => Array.from({ length: tiles }, (_, k) => input[64 * k + t]).reduce((x, y) => x + y, 0)),
        "sum",
      ),
  };
}

/** Small whole numbers without a pattern that a swapped row or column would keep. */
const scattered = (j, salt) => (Math.imul(j + 1, 0x9e3779b1 + salt) >>> 15) % 7;

/** Element types of wgmma: bytes, values that are exact, the k of one instruction, and the type of the result. */
const wgmmaTypes = {
  bf16: { bytes: 2, encode: bf16, array: Uint16Array, map: "bf16", result: "f32" },
  f16: { bytes: 2, encode: f16, array: Uint16Array, map: "f16", result: "f32" },
  tf32: { bytes: 4, encode: (x) => x, array: Float32Array, map: "f32", result: "f32" },
  e4m3: { bytes: 1, encode: small8(4, 3), array: Uint8Array, map: "u8", result: "f32" },
  e5m2: { bytes: 1, encode: small8(5, 2), array: Uint8Array, map: "u8", result: "f32" },
  s8: { bytes: 1, encode: (x) => x & 255, array: Uint8Array, map: "u8", result: "s32" },
  u8: { bytes: 1, encode: (x) => x & 255, array: Uint8Array, map: "u8", result: "s32" },
};

/** One tile 64 x n by TMA and wgmma, for a type, a swizzle span (0, 32, 64, 128) and a major-ness of both operands. */
export function wgmmaTile({ type = "bf16", span = 128, major = "k", n = 64, registersA = false, codeB = undefined } = {}) {
  const t = wgmmaTypes[type];
  const kStep = 32 / t.bytes;
  const chunk = span || 16;
  const k = major === "k" ? Math.max(kStep, chunk / t.bytes) : kStep * 2;
  const signed = type !== "u8";
  const value = (salt) => (j) => scattered(j, salt) - (signed ? 3 : 0);
  const a = Array.from({ length: 64 * k }, (_, j) => value(5)(j));
  const b = Array.from({ length: n * k }, (_, j) => value(3)(j));
  // K-major rows run along k; MN-major rows along m or n, one row for each k.
  const layout = (values, extent) =>
    t.array.from(
      major === "k" ? values : Array.from({ length: extent * k }, (_, at) => values[(at % extent) * k + Math.floor(at / extent)]),
      t.encode,
    );
  const operand = (extent) => {
    const inner = major === "k" ? k : extent;
    const rows = major === "k" ? extent : k;
    const boxInner = Math.min(chunk / t.bytes, inner);
    return { inner, rows, boxInner, boxes: inner / boxInner, boxBytes: boxInner * t.bytes * rows };
  };
  const [A, B] = [operand(64), operand(n)];
  const aBytes = A.boxes * A.boxBytes;
  const bBytes = B.boxes * B.boxBytes;
  const offsetB = Math.ceil(aBytes / 1024) * 1024;
  const descriptor = (o) => {
    const swizzle = { 0: 0, 128: 1, 64: 2, 32: 3 }[span];
    const [leading, stride] = major === "k" ? (span === 0 ? [o.boxBytes, 128] : [16, 8 * span]) : span === 0 ? [128, o.boxBytes] : [o.boxBytes, 8 * span];
    return (BigInt(leading >> 4) << 16n) | (BigInt(stride >> 4) << 32n) | (BigInt(swizzle) << 62n);
  };
  const step = (o) => (major === "k" ? (span === 0 ? 2 * o.boxBytes : 32) : span === 0 ? 2 * 128 : (kStep / 8) * 8 * span);
  const loads = (o, map, offset) =>
    Array.from({ length: o.boxes }, (_, x) => `cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [base+${offset + x * o.boxBytes}], [${map}, {${x * o.boxInner}, 0}], [bar];`).join("\n");
  const result = t.result === "f32" ? "f" : "r";
  const count = n / 2;
  const registers = Array.from({ length: count }, (_, j) => `acc${j}`).join(", ");
  const floating = t.result === "f32";
  const trans = t.bytes === 2 ? (registersA ? `, ${major === "k" ? 0 : 1}` : `, ${major === "k" ? 0 : 1}, ${major === "k" ? 0 : 1}`) : "";
  const steps = Array.from({ length: k / kStep }, (_, s) => {
    const left = registersA ? `{qa${4 * s}, qa${4 * s + 1}, qa${4 * s + 2}, qa${4 * s + 3}}` : `d20`;
    return `${s === 0 ? "" : `${registersA ? "" : `add.u64 d20, d20, ${step(A) / 16};\n`}add.u64 d21, d21, ${step(B) / 16};\n`}wgmma.mma_async.sync.aligned.m64n${n}k${kStep}.${t.result}.${type}.${type} {${registers}}, ${left}, d21, ${s === 0 ? "p8" : "p7"}${floating ? ", 1, 1" : ""}${trans};`;
  });
  const hex = (v) => `0x${v.toString(16)}`;
  // The A fragment from memory: row lane / 4 (+ 8) of the warp's 16, k by the lane's place in its quad.
  const perWord = 4 / t.bytes;
  const fragment = registersA
    ? Array.from({ length: (k / kStep) * 4 }, (_, j) => {
        const row = 8 * (j & 1);
        const column = Math.floor(j / 4) * kStep + ((j >> 1) & 1) * 4 * perWord;
        return `ld.global.b32 qa${j}, [d30+${(row * k + column) * t.bytes}];`;
      }).join("\n")
    : "";
  const stores = Array.from({ length: n / 8 }, (_, g) => `st.global.v2.b32 [d25+${32 * g}], {w${4 * g}, w${4 * g + 1}};\nst.global.v2.b32 [d25+${8 * n * 4 + 32 * g}], {w${4 * g + 2}, w${4 * g + 3}};`).join("\n");
  const moves = Array.from({ length: count }, (_, j) => `mov.b32 w${j}, acc${j};`).join("\n");
  const map = (of, o) => ({ map: { of, type: t.map, dims: [o.inner, o.rows], strides: [o.inner * t.bytes], box: [o.boxInner, o.rows], swizzle: span } });
  const wanted = Array.from({ length: 64 * n }, (_, at) => {
    let sum = 0;
    for (let x = 0; x < k; x++) sum += a[Math.floor(at / n) * k + x] * b[(at % n) * k + x];
    return sum;
  });
  return {
    name: `wgmma-${type}-${span}-${major}${registersA ? "-registers" : ""}-n${n}`,
    ptx: entry(
      ".param .align 64 .b8 pA[128], .param .align 64 .b8 pB[128], .param .u64 pIn, .param .u64 pOut",
      `.shared .align 8 .b8 bars[8]; .reg .b${floating ? 32 : 32} w<${count}>; .reg .${result === "f" ? "f32" : "b32"} acc<${count}>; .reg .b32 qa<64>;`,
      `${pointers}
      mov.u32 base, memory;
      mov.u32 bar, bars;
      mov.b64 d1, pA;
      cvta.param.u64 d1, d1;
      mov.b64 d2, pB;
      cvta.param.u64 d2, d2;
      setp.ne.u32 p0, tid, 0;
      @p0 bra READY;
      mbarrier.init.shared::cta.b64 [bar], 1;
      fence.mbarrier_init.release.cluster;
      mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], ${(registersA ? 0 : aBytes) + bBytes};
      ${registersA ? "" : loads(A, "d1", 0)}
      ${loads(B, "d2", offsetB)}
      READY:
      bar.sync 0;
      shl.b32 r30, warp, 4;
      shr.u32 r31, lane, 2;
      add.u32 r31, r31, r30;
      and.b32 r32, lane, 3;
      mul.lo.u32 r33, r31, ${k * t.bytes};
      mad.lo.u32 r33, r32, 4, r33;
      cvt.u64.u32 d30, r33;
      add.u64 d30, in, d30;
      ${fragment}
      ${wait("bar", 0)}
      setp.eq.u32 p7, 0, 0;
      setp.ne.u32 p8, 0, 0;
      shr.u32 r40, base, 4;
      cvt.u64.u32 d20, r40;
      and.b64 d20, d20, 0x3fff;
      add.u64 d21, d20, ${offsetB / 16};
      ${registersA ? "" : `or.b64 d20, d20, ${hex(descriptor(A))};`}
      or.b64 d21, d21, ${hex(codeB ?? descriptor(B))};
      wgmma.fence.sync.aligned;
      ${steps.join("\n")}
      wgmma.commit_group.sync.aligned;
      wgmma.wait_group.sync.aligned 0;
      ${moves}
      mul.lo.u32 r34, r31, ${4 * n};
      mad.lo.u32 r34, r32, 8, r34;
      cvt.u64.u32 d25, r34;
      add.u64 d25, out, d25;
      ${stores}`,
    ),
    grid: 1,
    block: 128,
    shared: offsetB + Math.ceil(bBytes / 1024) * 1024,
    args: [registersA ? { ...map(4, B), unused: true } : map(2, A), map(4, B), { in: layout(a, 64) }, { out: 64 * n * 4 }, { in: layout(b, n), hidden: true }],
    exact: true,
    check: ([out]) => expectNear(floating ? asF32(out) : new Int32Array(out.buffer, out.byteOffset, out.byteLength >> 2), wanted, "product"),
  };
}

/** GEMM 64 x 64 x 64 t: TMA ring of two stages, one math warpgroup, TMA store of the bf16 result. */
export function gemmRing(tiles = 4, stages = 2) {
  const K = 64 * tiles;
  const a = Array.from({ length: 64 * K }, (_, j) => scattered(j, 10) - 3);
  const b = Array.from({ length: 64 * K }, (_, j) => scattered(j, 20) - 3);
  const registers = Array.from({ length: 32 }, (_, j) => `acc${j}`).join(", ");
  const steps = [0, 1, 2, 3].map((s) => `wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {${registers}}, d2${s}, d3${s}, ${s === 0 ? "p5" : "p7"}, 1, 1, 0, 0;`).join("\n");
  const stageBytes = 16384;
  const map = (of, rows, cols, box, swizzle) => ({ map: { of, type: "bf16", dims: [cols, rows], strides: [2 * cols], box, swizzle } });
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
    args: [map(3, 64, K, [64, 64], 128), map(4, 64, K, [64, 64], 128), map(5, 64, 64, [64, 64], 0), { in: Uint16Array.from(a, bf16), hidden: true }, { in: Uint16Array.from(b, bf16), hidden: true }, { out: 8192, hidden: true }],
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
        Array.from({ length: 256 }, (_, t) => Array.from({ length: tiles }, (_, k) => input[128 * k + (t % 128)]).reduce((x, y) => x + y, 0)),
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
    check: ([out]) => expectNear(asU32(out), Array.from({ length: 128 }, (_, t) => ((Math.floor(t / 32) + 3) % 4) * 1000 + (t % 32)), "mail"),
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
    check: ([out]) => expectNear(asU32(out), Array.from({ length: 64 }, (_, t) => (1 - Math.floor(t / 32)) * 1000 + (t % 32)), "mail"),
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
        Array.from({ length: 128 }, (_, t) => Array.from({ length: rounds }, (_, r) => 2 * input[128 * r + t]).reduce((x, y) => x + y, 0)),
        "sum",
      ),
  };
}

/** Every kernel that runs on one device. */
export function allKernels() {
  const tiles = [];
  for (const major of ["k", "mn"]) for (const span of [0, 32, 64, 128]) tiles.push(wgmmaTile({ span, major }));
  for (const type of ["f16", "tf32", "e4m3", "e5m2", "s8", "u8"]) tiles.push(wgmmaTile({ type, n: 32 }));
  for (const type of ["bf16", "e4m3", "tf32"]) tiles.push(wgmmaTile({ type, registersA: true, n: 24 }));
  return [blockSum(), namedBarriers(), copyPipeline(), lastBlock(), bulkRing(), bulkRoundTrip(), multicastRing(), remoteStores(), asyncStores(), gemmRing(), ...tiles];
}
