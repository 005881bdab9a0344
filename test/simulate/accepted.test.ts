/** Spellings of memory, cache, barrier and copy instructions: ptxas takes them, and the simulator runs them. */
import { expect, test } from "vitest";
import { renderFinding } from "../../runtime/simulate/index.ts";
import { assemble, kernel, run } from "./harness.ts";
import { hasPtxas, needing } from "../targets/ptx/tools.ts";

const lines = [
  "createpolicy.fractional.L2::evict_last.b64 d1, 0f3F800000;",
  "createpolicy.fractional.L2::evict_first.L2::evict_unchanged.b64 d2, 0f3F000000;",
  "ld.global.nc.L1::no_allocate.L2::128B.v4.f32 {f1, f2, f3, f4}, [in];",
  "ld.global.L1::evict_last.L2::cache_hint.u32 r1, [in], d1;",
  "ld.global.nc.L2::cache_hint.b64 d3, [in], d2;",
  "ld.global.ca.u32 r2, [in];",
  "ld.global.cg.v2.u32 {r3, r4}, [in+8];",
  "ld.weak.global.cs.u8 r5, [in];",
  "ld.volatile.global.u32 r6, [in];",
  "ld.relaxed.sys.global.u32 r7, [in];",
  "ld.acquire.cta.global.b32 r8, [in];",
  "ld.global.nc.v2.b64 {d4, d5}, [in];",
  "st.global.wt.u32 [out+64], r1;",
  "st.global.L2::cache_hint.v2.b32 [out+72], {r1, r2}, d1;",
  "st.volatile.global.u32 [out+80], r1;",
  "st.release.gpu.global.u32 [out+84], r1;",
  "st.relaxed.sys.global.b64 [out+88], d3;",
  "st.global.L1::no_allocate.u32 [out+96], 7;",
  "prefetch.global.L2 [in];",
  "prefetch.global.L2::evict_last [in];",
  "prefetchu.L1 [in];",
  "discard.global.L2 [out+128], 128;",
  "fence.acq_rel.sys;",
  "fence.sc.cta;",
  "fence.proxy.async;",
  "fence.proxy.async.global;",
  "fence.proxy.alias;",
  "membar.gl;",
  "griddepcontrol.wait;",
  "griddepcontrol.launch_dependents;",
  "nanosleep.u32 20;",
  "atom.global.add.u32 r9, [out+256], 1;",
  "atom.acq_rel.sys.global.cas.b64 d6, [out+264], d3, d4;",
  "atom.release.gpu.global.exch.b32 r10, [out+272], 5;",
  "atom.shared.or.b32 r11, [memory+512], 3;",
  "atom.global.min.s64 d7, [out+264], d3;",
  "atom.add.noftz.f16x2 r12, [out+276], r1;",
  "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [r20], r1, [r21];",
  "red.relaxed.gpu.global.add.v4.f32 [out+288], {f1, f2, f3, f4};",
  "red.global.add.f64 [out+304], e0;",
  "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [memory+1008], 4;",
  "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [r22], r1, [r21];",
  "mbarrier.arrive.release.cta.shared::cta.b64 d8, [memory+1008];",
  "mbarrier.test_wait.acquire.cta.shared::cta.b64 p1, [memory+1008], d8;",
  "mbarrier.pending_count.b64 r13, d8;",
  "mbarrier.inval.shared::cta.b64 [memory+1000];",
  "cp.async.ca.shared.global.L2::128B [memory+256], [in], 8;",
  "cp.async.cg.shared.global.L2::cache_hint [memory+272], [in], 16, d1;",
  "cp.async.ca.shared.global [memory+288], [in], 16, 4;",
  "cp.async.mbarrier.arrive.noinc.shared.b64 [memory+992];",
  "cp.async.wait_all;",
  "cp.async.bulk.prefetch.L2.global [in], 256;",
  "cp.async.bulk.commit_group;",
  "cp.async.bulk.wait_group.read 0;",
  "barrier.cta.sync.aligned 3;",
  "barrier.sync 4, 32;",
  "bar.cta.sync 5;",
  "barrier.cluster.arrive.release.aligned;",
  "barrier.cluster.wait.acquire.aligned;",
  "isspacep.shared::cluster p2, d1;",
  "getctarank.shared::cluster.u32 r14, r20;",
  "mov.u64 d9, %globaltimer;",
  "mov.u32 r15, %clock;",
  "mov.u64 d10, %clock64;",
  "mov.u32 r16, %smid;",
  "mov.u32 r17, %cluster_nctarank;",
  "mov.u32 r18, %dynamic_smem_size;",
  "mov.pred p3, %is_explicit_cluster;",
];

const single = new Set(["atom", "red", "mbarrier", "st", "cp"]);

/** One lane does what all lanes would race for. */
const guarded = lines
  .map((line) => (single.has(line.split(".")[0]!) && !line.includes("wait_") ? `@p7 ${line}` : line))
  .join("\n");

const ptx = kernel(
  `setp.eq.u32 p7, lane, 0;
  mov.u32 r19, memory;
  mov.f64 e0, 0d3FF0000000000000;
  mapa.shared::cluster.u32 r20, r19, 0;
  add.u32 r21, r20, 1008;
  add.u32 r22, r20, 16;
  @p7 mbarrier.init.shared::cta.b64 [memory+992], 1;
  @p7 mbarrier.init.shared::cta.b64 [memory+1000], 2;
  @p7 mbarrier.init.shared::cta.b64 [memory+1008], 1;
  fence.mbarrier_init.release.cluster;
  barrier.cluster.arrive.aligned;
  barrier.cluster.wait.aligned;
  @p7 st.shared.u32 [r19], 0;
  @p7 st.shared.u32 [r19+512], 0;
  @p7 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [memory+1008], 4;
  ${guarded}
  LAST: @p7 mbarrier.try_wait.shared::cta.b64 p1, [memory+1008], d8;
  @!p7 setp.eq.u32 p1, 0, 0;
  @!p1 bra LAST;`,
  { declarations: ".shared .align 128 .b8 memory[1024];" },
);

test("the simulator runs them all", () => {
  for (let seed = 0; seed < 4; seed++) {
    const { report } = run(ptx, new Uint8Array(512), 512, { cluster: [1, 1, 1] }, { seed });
    const real = report.findings.filter((finding) => finding.code !== "uninitialised-read");
    expect(real.map(renderFinding)).toEqual([]);
  }
});

test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, "ptxas takes them all"), () => {
  expect(assemble(ptx)).toBe(undefined);
});
