/** One wgmma tile for every type, swizzle and major-ness. */
import { entry, wait, bf16, f16, small8, expectNear, asF32, pointers, scattered } from "./kernel-text.mjs";

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
export function wgmmaTile({
  type = "bf16",
  span = 128,
  major = "k",
  n = 64,
  registersA = false,
  codeB = undefined,
} = {}) {
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
      major === "k"
        ? values
        : Array.from({ length: extent * k }, (_, at) => values[(at % extent) * k + Math.floor(at / extent)]),
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
    const [leading, stride] =
      major === "k"
        ? span === 0
          ? [o.boxBytes, 128]
          : [16, 8 * span]
        : span === 0
          ? [128, o.boxBytes]
          : [o.boxBytes, 8 * span];
    return (BigInt(leading >> 4) << 16n) | (BigInt(stride >> 4) << 32n) | (BigInt(swizzle) << 62n);
  };
  const step = (o) =>
    major === "k" ? (span === 0 ? 2 * o.boxBytes : 32) : span === 0 ? 2 * 128 : (kStep / 8) * 8 * span;
  const loads = (o, map, offset) =>
    Array.from(
      { length: o.boxes },
      (_, x) =>
        `cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [base+${offset + x * o.boxBytes}], [${map}, {${x * o.boxInner}, 0}], [bar];`,
    ).join("\n");
  const result = t.result === "f32" ? "f" : "r";
  const count = n / 2;
  const registers = Array.from({ length: count }, (_, j) => `acc${j}`).join(", ");
  const floating = t.result === "f32";
  const trans =
    t.bytes === 2
      ? registersA
        ? `, ${major === "k" ? 0 : 1}`
        : `, ${major === "k" ? 0 : 1}, ${major === "k" ? 0 : 1}`
      : "";
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
  const stores = Array.from(
    { length: n / 8 },
    (_, g) =>
      `st.global.v2.b32 [d25+${32 * g}], {w${4 * g}, w${4 * g + 1}};\nst.global.v2.b32 [d25+${8 * n * 4 + 32 * g}], {w${4 * g + 2}, w${4 * g + 3}};`,
  ).join("\n");
  const moves = Array.from({ length: count }, (_, j) => `mov.b32 w${j}, acc${j};`).join("\n");
  const map = (of, o) => ({
    map: {
      of,
      type: t.map,
      dims: [o.inner, o.rows],
      strides: [o.inner * t.bytes],
      box: [o.boxInner, o.rows],
      swizzle: span,
    },
  });
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
    args: [
      registersA ? { ...map(4, B), unused: true } : map(2, A),
      map(4, B),
      { in: layout(a, 64) },
      { out: 64 * n * 4 },
      { in: layout(b, n), hidden: true },
    ],
    exact: true,
    check: ([out]) =>
      expectNear(
        floating ? asF32(out) : new Int32Array(out.buffer, out.byteOffset, out.byteLength >> 2),
        wanted,
        "product",
      ),
  };
}
