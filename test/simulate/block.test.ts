/** Blocks: shared memory, barriers, shuffles, matrix fragments, cp.async. */
import { expect, test } from "vitest";
import { renderFinding } from "../../runtime/simulate/index.ts";
import { codes, kernel, run } from "./harness.ts";

const reduce = kernel(
  `
  mul.wide.u32 d0, tid, 4;
  add.u64 d0, in, d0;
  ld.global.f32 f0, [d0];
  shfl.sync.bfly.b32 f1, f0, 16, 31, -1;
  add.f32 f0, f0, f1;
  shfl.sync.bfly.b32 f1, f0, 8, 31, -1;
  add.f32 f0, f0, f1;
  shfl.sync.bfly.b32 f1, f0, 4, 31, -1;
  add.f32 f0, f0, f1;
  shfl.sync.bfly.b32 f1, f0, 2, 31, -1;
  add.f32 f0, f0, f1;
  shfl.sync.bfly.b32 f1, f0, 1, 31, -1;
  add.f32 f0, f0, f1;
  setp.eq.u32 p0, lane, 0;
  shl.b32 r0, warp, 2;
  mov.u32 r1, partial;
  add.u32 r0, r0, r1;
  @p0 st.shared.f32 [r0], f0;
  bar.sync 0;
  setp.ne.u32 p1, tid, 0;
  @p1 bra DONE;
  ld.shared.v4.f32 {f1, f2, f3, f4}, [partial];
  add.f32 f1, f1, f2;
  add.f32 f3, f3, f4;
  add.f32 f1, f1, f3;
  st.global.f32 [out], f1;
DONE:`,
  { declarations: ".shared .align 16 .b8 partial[16];" },
);

test("a sum over a block by shuffles, shared memory and a barrier", () => {
  const input = Float32Array.from({ length: 128 }, (_, i) => i);
  for (let seed = 0; seed < 8; seed++) {
    const { report, out } = run(reduce, input, 4, { block: [128, 1, 1] }, { seed });
    expect(report.findings.map(renderFinding)).toEqual([]);
    expect(new Float32Array(out.buffer)[0]).toBe(8128);
  }
});

test("without its barrier the same sum is a race", () => {
  const input = Float32Array.from({ length: 128 }, (_, i) => i);
  const found = new Set<string>();
  for (let seed = 0; seed < 8; seed++)
    for (const code of codes(
      run(reduce.replace("bar.sync 0;", ""), input, 4, { block: [128, 1, 1] }, { seed }).report,
    ))
      found.add(code);
  expect(found.has("race")).toBe(true);
});

/** D = A B, 16 x 8 x 16, A by ldmatrix, B by ldmatrix.trans, both through cp.async. */
const product = kernel(
  `
  shl.b32 r0, lane, 4;
  mov.u32 r1, tileA;
  add.u32 r2, r1, r0;
  cvt.u64.u32 d0, r0;
  add.u64 d1, in, d0;
  cp.async.cg.shared.global [r2], [d1], 16;
  mov.u32 r3, tileB;
  setp.lt.u32 p0, lane, 16;
  add.u32 r4, r3, r0;
  @p0 cp.async.cg.shared.global [r4], [d1+512], 16;
  cp.async.commit_group;
  cp.async.wait_group 0;
  bar.warp.sync -1;
  and.b32 r5, lane, 15;
  shl.b32 r5, r5, 5;
  shr.u32 r6, lane, 4;
  shl.b32 r6, r6, 4;
  add.u32 r5, r5, r6;
  add.u32 r5, r5, r1;
  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r10, r11, r12, r13}, [r5];
  and.b32 r5, lane, 15;
  shl.b32 r5, r5, 4;
  add.u32 r5, r5, r3;
  ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {r14, r15}, [r5];
  mov.f32 f0, 0f00000000;
  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f1, f2, f3, f4}, {r10, r11, r12, r13}, {r14, r15}, {f0, f0, f0, f0};
  shr.u32 r7, lane, 2;
  and.b32 r8, lane, 3;
  shl.b32 r7, r7, 5;
  shl.b32 r8, r8, 3;
  add.u32 r7, r7, r8;
  cvt.u64.u32 d2, r7;
  add.u64 d2, out, d2;
  st.global.v2.f32 [d2], {f1, f2};
  st.global.v2.f32 [d2+256], {f3, f4};`,
  { target: "sm_80", declarations: ".shared .align 128 .b8 tileA[512]; .shared .align 128 .b8 tileB[256];" },
);

test("a bf16 product by cp.async, ldmatrix and mma.sync", () => {
  const a = Array.from({ length: 256 }, (_, i) => (i * 7) % 13);
  const b = Array.from({ length: 128 }, (_, i) => (i * 5) % 11);
  const input = Uint16Array.from(
    [...a, ...b],
    (x) => new Uint32Array(new Float32Array([x]).buffer)[0]! >>> 16,
  );
  const expected = Array.from({ length: 128 }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < 16; k++) sum += a[(at >> 3) * 16 + k]! * b[k * 8 + (at & 7)]!;
    return sum;
  });
  for (let seed = 0; seed < 4; seed++) {
    const { report, out } = run(product, input, 512, {}, { seed });
    expect(report.findings.map(renderFinding)).toEqual([]);
    expect([...new Float32Array(out.buffer)]).toEqual(expected);
  }
  const late = run(product.replace("cp.async.wait_group 0;", ""), input, 512).report;
  expect(codes(late)).toContain("read-before-arrival");
});
