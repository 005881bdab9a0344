/** Each kind of finding, by a kernel that has just that mistake; and what a finding says. */
import { describe, expect, test } from "vitest";
import {
  createDevice,
  launch,
  loadModule,
  renderFinding,
  SimulateError,
  type FindingCode,
  type Launch,
} from "../../runtime/simulate/index.ts";
import { codes, header, kernel, pointer, run, runSample, type Sample } from "./harness.ts";
import { bulkRing, gemmRing, wgmmaTile } from "./kernels.mjs";

const words = Uint32Array.from({ length: 256 }, (_, i) => i);

interface Mistake {
  readonly code: FindingCode;
  readonly why: string;
  readonly body: string;
  readonly declarations?: string;
  readonly how?: Partial<Launch>;
}

const shared = ".shared .align 16 .b8 memory[1024]; .reg .pred pw;";
const cluster: Partial<Launch> = { grid: [2, 1, 1], cluster: [2, 1, 1] };

const mistakes: readonly Mistake[] = [
  {
    code: "race",
    why: "two warps write a word of shared memory",
    body: "st.shared.u32 [memory], tid;",
    how: { block: [64, 1, 1] },
  },
  {
    code: "race",
    why: "lanes of a warp exchange through shared memory with no bar.warp.sync",
    body: "shl.b32 r0, tid, 2; mov.u32 r1, memory; add.u32 r0, r0, r1; st.shared.u32 [r0], tid; xor.b32 r2, r0, 4; ld.shared.u32 r3, [r2];",
  },
  {
    code: "race",
    why: "two blocks write a word of global memory",
    body: "st.global.u32 [out], block;",
    how: { grid: [2, 1, 1], block: [1, 1, 1] },
  },
  {
    code: "race",
    why: "an atomic of the block's scope from two blocks",
    body: "red.relaxed.cta.global.add.u32 [in], 1;",
    how: { grid: [2, 1, 1] },
  },
  {
    code: "race",
    why: "ld.global.nc of what the kernel writes",
    body: "st.global.u32 [out], 1; ld.global.nc.u32 r0, [out];",
    how: { block: [1, 1, 1] },
  },
  {
    code: "uninitialised-read",
    why: "shared memory is read before anything wrote it",
    body: "ld.shared.u32 r0, [memory];",
  },
  {
    code: "uninitialised-read",
    why: "global memory that the host never wrote",
    body: "ld.global.u32 r0, [out];",
  },
  { code: "out-of-bounds", why: "one element beyond a buffer", body: "ld.global.u32 r0, [in+1024];" },
  { code: "out-of-bounds", why: "before a buffer", body: "ld.global.u32 r0, [in-4];" },
  {
    code: "out-of-bounds",
    why: "beyond shared memory",
    body: "mov.u32 r0, memory; st.shared.u32 [r0+1024], tid;",
  },
  { code: "out-of-bounds", why: "a null pointer", body: "mov.b64 d0, 0; ld.global.u32 r0, [d0];" },
  {
    code: "misaligned",
    why: "a vector load off its alignment",
    body: "ld.global.v4.u32 {r0, r1, r2, r3}, [in+4];",
  },
  {
    code: "deadlock",
    why: "half of a block waits at a barrier for all of it",
    body: "setp.eq.u32 p0, warp, 0; @p0 bra SKIP; bar.sync 1, 128; SKIP: bar.sync 0;",
    how: { block: [64, 1, 1] },
  },
  {
    code: "livelock",
    why: "a poll for a flag that nobody sets",
    body: "AGAIN: ld.acquire.gpu.global.u32 r0, [in]; setp.eq.u32 p0, r0, 0; @p0 bra AGAIN;",
    how: { block: [1, 1, 1] },
  },
  {
    code: "divergent-instruction",
    why: "bar.sync under a divergent branch",
    body: "setp.lt.u32 p0, lane, 16; @p0 bra SKIP; bar.sync 0; SKIP: bar.sync 0;",
  },
  {
    code: "divergent-instruction",
    why: "a shuffle of all lanes by half of them",
    body: "setp.lt.u32 p0, lane, 16; @p0 shfl.sync.bfly.b32 r0, tid, 1, 31, -1;",
  },
  {
    code: "divergent-instruction",
    why: "mma.sync by half of a warp",
    body: "setp.lt.u32 p0, lane, 16; @p0 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {r0}, [memory];",
  },
  {
    code: "barrier-misuse",
    why: "two counts for one barrier",
    body: "setp.eq.u32 p0, warp, 0; @p0 bra ONE; bar.sync 1, 96; bra DONE; ONE: bar.sync 1, 64; DONE:",
    how: { block: [64, 1, 1] },
  },
  {
    code: "mbarrier-misuse",
    why: "an arrival at a barrier that was never initialised",
    body: "mbarrier.arrive.shared::cta.b64 _, [memory];",
  },
  {
    code: "mbarrier-misuse",
    why: "more arrivals than the count",
    body: "setp.ne.u32 p0, tid, 0; @p0 bra READY; mbarrier.init.shared::cta.b64 [memory], 2; READY: bar.sync 0; mbarrier.arrive.noComplete.shared::cta.b64 _, [memory], 1; mbarrier.arrive.shared::cta.b64 _, [memory], 5;",
    how: { block: [1, 1, 1] },
  },
  {
    code: "mbarrier-misuse",
    why: "a store over a barrier",
    body: "setp.ne.u32 p0, tid, 0; @p0 bra READY; mbarrier.init.shared::cta.b64 [memory], 1; st.shared.u32 [memory], 0; READY:",
  },
  {
    code: "transaction-mismatch",
    why: "expected bytes that never come",
    body: "setp.ne.u32 p0, tid, 0; @p0 bra DONE; mbarrier.init.shared::cta.b64 [memory], 1; mbarrier.arrive.expect_tx.shared::cta.b64 _, [memory], 64; DONE:",
  },
  {
    code: "write-to-constant",
    why: "a store to the parameters",
    body: "mov.b64 d0, pIn; cvta.param.u64 d0, d0; st.u32 [d0], 1;",
  },
  { code: "trap", why: "trap", body: "trap;" },
  {
    code: "cluster-misuse",
    why: "a remote store before the peer is known to run",
    body: "mov.u32 r0, memory; mapa.shared::cluster.u32 r1, r0, 1; mbarrier.arrive.shared::cluster.b64 _, [r1];",
    how: cluster,
  },
  {
    code: "cluster-misuse",
    why: "a rank that the cluster has not",
    body: "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; mov.u32 r0, memory; mapa.shared::cluster.u32 r1, r0, 5; mbarrier.arrive.shared::cluster.b64 _, [r1];",
    how: cluster,
  },
  {
    code: "register-budget",
    why: "setmaxnreg off its steps",
    body: "setmaxnreg.dec.sync.aligned.u32 41;",
    how: { block: [128, 1, 1] },
  },
  {
    code: "shared-budget",
    why: "more dynamic shared memory than a block may have",
    body: "mov.u32 r0, 0;",
    how: { sharedBytes: 300_000 },
  },
];

describe("a kernel with one mistake", () => {
  test.each(mistakes.map((m) => [`${m.code}: ${m.why}`, m] as const))(
    "%s",
    (_, { code, body, declarations = shared, how = {} }) => {
      const found = new Set<string>();
      for (let seed = 0; seed < 4; seed++)
        for (const name of codes(
          run(kernel(body.replace(/; /g, ";\n"), { declarations }), words, 1024, how, { seed }).report,
        ))
          found.add(name);
      expect([...found]).toEqual(expect.arrayContaining([code]));
    },
  );

  test("the same bodies without their mistake are clean", () => {
    const body =
      "shl.b32 r0, tid, 2;\nmov.u32 r1, memory;\nadd.u32 r0, r0, r1;\nst.shared.u32 [r0], tid;\nbar.warp.sync -1;\nxor.b32 r2, r0, 4;\nld.shared.u32 r3, [r2];\nred.relaxed.gpu.global.add.u32 [in], 1;";
    for (let seed = 0; seed < 4; seed++)
      expect(
        run(kernel(body, { declarations: shared }), words, 1024, { grid: [2, 1, 1] }, { seed }).report
          .findings,
      ).toEqual([]);
  });
});

const mutated = (sample: unknown, from: RegExp | string, to: string): string[] => {
  const { ptx } = sample as Sample;
  const changed = ptx.replace(from, to);
  expect(changed).not.toBe(ptx);
  return codes(runSample(sample as Sample, {}, changed).report);
};

describe("Hopper's mistakes", () => {
  test("an accumulator read before wgmma.wait_group", () => {
    expect(mutated(wgmmaTile(), "wgmma.wait_group.sync.aligned 0;", "")).toContain("wgmma-register-hazard");
  });
  test("no wgmma.fence", () => {
    expect(mutated(wgmmaTile(), "wgmma.fence.sync.aligned;", "")).toEqual(["wgmma-missing-fence"]);
  });
  test("warps of a warpgroup that disagree on a descriptor", () => {
    expect(
      mutated(
        wgmmaTile(),
        "wgmma.fence.sync.aligned;",
        "setp.eq.u32 p4, warp, 1;\n@p4 add.u64 d21, d21, 64;\nwgmma.fence.sync.aligned;",
      ),
    ).toContain("wgmma-misuse");
  });
  test("a descriptor that starts inside a swizzle pattern", () => {
    expect(mutated(wgmmaTile(), /add\.u64 d21, d20, \d+;/, "add.u64 d21, d20, 520;")).toContain("descriptor");
  });
  test("a box of more dimensions than the map", () => {
    const wrong = mutated(wgmmaTile(), /tensor\.2d(.*\[d1, \{\d+), 0\}/, "tensor.3d$1, 0, 0}");
    expect(wrong).toContain("tensor-copy");
  });
  test("a block that exits while a store is in flight", () => {
    expect(mutated(gemmRing(2), "cp.async.bulk.wait_group 0;", "")).toEqual(["unfinished-async"]);
  });
  test("generic writes that a TMA store reads with no proxy fence", () => {
    expect(mutated(gemmRing(2), /fence\.proxy\.async\.shared::cta;\n\s*bar\.sync 1/, "bar.sync 1")).toContain(
      "missing-proxy-fence",
    );
  });
  test("a role whose registers are more than setmaxnreg left it", () => {
    const sample = gemmRing(2) as Sample;
    const ptx = sample.ptx.replace("MATH:", "MATH:\n  setmaxnreg.dec.sync.aligned.u32 24;");
    expect(codes(runSample(sample, {}, ptx).report)).toContain("register-budget");
  });
});

describe("what a finding says", () => {
  test("both sides, their lines, and the lines of the source", () => {
    const ptx = `${header()}
.file 1 "model.dsl"
.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .b32 t, r;
  .shared .align 4 .b8 s[4];
  mov.u32 t, %tid.x;
  .loc 1 7 3
  st.shared.u32 [s], t;
  .loc 1 9 5
  ld.shared.u32 r, [s];
  ret;
}
`;
    const { report } = run(ptx, words, 16, { block: [64, 1, 1] });
    const finding = report.findings.find((f) => f.at.instruction.startsWith("st.shared"))!;
    expect(finding.at).toMatchObject({ ptxLine: 12, source: { file: "model.dsl", line: 7, column: 3 } });
    expect(finding.other).toMatchObject({ ptxLine: 12 });
    expect(renderFinding(finding)).toContain("model.dsl:7:3");
    expect(renderFinding(finding)).toMatch(/block \(0,0,0\) warp 1 lane \d+/);
    expect(JSON.parse(JSON.stringify(report)).findings.length).toBe(report.findings.length);
  });

  test("a deadlock names who waits for what", () => {
    const ring = bulkRing() as Sample;
    const { report } = runSample(ring, {}, ring.ptx.replace(/@p3 mbarrier\.arrive.*\n/, "\n"));
    const deadlock = report.findings.find((f) => f.code === "deadlock")!;
    expect(deadlock.details.join("\n")).toMatch(
      /warp 0 lane 0 .* waits for phase 0 of the mbarrier in shared memory of block \(0,0,0\) at byte \d+: 0 of 2 arrivals/,
    );
    expect(deadlock.details.join("\n")).toMatch(/warp 1 lanes 0-31 .* waits for phase 1 of the mbarrier/);
  });

  test("an unknown instruction is named, with its line and its nearest forms", () => {
    const bad = kernel("add.s33 r0, r0, r0;");
    expect(() => loadModule(bad)).toThrow(SimulateError);
    expect(() => loadModule(bad)).toThrow(
      /PTX line \d+: I do not know the instruction add\.s33; of add I know/,
    );
    expect(() => loadModule(kernel("frobnicate.b32 r0;"))).toThrow(/frobnicate\.b32/);
    expect(() => loadModule(kernel("mov.u32 r0, nowhere;"))).toThrow(/nowhere is not declared/);
    expect(() => loadModule(kernel("add.s32 d0, d0, d0;"))).toThrow(/a register of 64 bits, as s32/);
    expect(() => loadModule(kernel("bra NOWHERE;"))).toThrow(/there is no label NOWHERE/);
  });

  test("a launch is checked against the kernel", () => {
    const module = loadModule(kernel("mov.u32 r0, 0;"));
    const device = createDevice();
    const x = device.alloc(16);
    const how = (args: Launch["args"]): Launch => ({ grid: [1, 1, 1], block: [32, 1, 1], args });
    expect(() => launch(module, "test", how([pointer(x)]))).toThrow(/takes 2 arguments \(pIn, pOut\), not 1/);
    expect(() => launch(module, "test", how([pointer(x), { kind: "u32", value: 1 }]))).toThrow(
      /pOut has 8 bytes, and the argument \(u32\) has 4/,
    );
    expect(() => launch(module, "other", how([pointer(x), pointer(x)]))).toThrow(/no kernel other/);
  });

  test("a step limit ends a loop without end", () => {
    const { report } = run(
      kernel("AGAIN: add.u32 r0, r0, 1;\nbra AGAIN;"),
      words,
      16,
      {},
      { maxSteps: 1000 },
    );
    expect(codes(report)).toEqual(["step-limit"]);
  });
});

test("counts: bytes, bank conflicts, sectors, instructions", () => {
  const body =
    "shl.b32 r0, tid, 7;\nmov.u32 r1, memory;\nadd.u32 r0, r0, r1;\nst.shared.u32 [r0], tid;\nmul.wide.u32 d0, tid, 4;\nadd.u64 d0, in, d0;\nld.global.u32 r2, [d0];\nmul.wide.u32 d1, tid, 32;\nadd.u64 d1, in, d1;\nld.global.u32 r2, [d1];";
  const { report } = run(
    kernel(body, { declarations: ".shared .align 16 .b8 memory[4096];" }),
    words,
    16,
    {},
  );
  expect(report.findings).toEqual([]);
  expect(report.counts).toMatchObject({
    bankConflicts: 31,
    sharedAccesses: 1,
    globalAccesses: 2,
    sectors: 4 + 32,
    leastSectors: 8,
  });
  expect(report.counts.bytes).toEqual({ "global read": 256, "param read": 512, "shared written": 128 });
  expect(report.counts.instructions["ld.global"]).toBe(64);
});

test("many strong loads are no livelock, and a weak poll does not starve its writer", () => {
  const many = kernel(
    "mov.u32 r0, 0;\nmov.u32 r2, 0;\nMORE: mul.wide.u32 d0, r0, 4;\nadd.u64 d0, in, d0;\nld.volatile.global.u32 r1, [d0];\nadd.u32 r2, r2, r1;\nadd.u32 r0, r0, 1;\nsetp.lt.u32 p0, r0, 1000;\n@p0 bra MORE;\nst.global.u32 [out], r2;",
  );
  const values = Uint32Array.from({ length: 1000 }, () => 3);
  const { report, out } = run(many, values, 16, { block: [1, 1, 1] });
  expect(report.findings).toEqual([]);
  expect(new Uint32Array(out.slice().buffer)[0]).toBe(3000);
  const weak = kernel(
    "setp.eq.u32 p0, warp, 1;\n@p0 bra WRITE;\nAGAIN: ld.global.u32 r0, [in];\nsetp.eq.u32 p1, r0, 0;\n@p1 bra AGAIN;\nbra DONE;\nWRITE: st.global.u32 [in], 1;\nDONE:",
  );
  expect(codes(run(weak, words, 16, { block: [64, 1, 1] }, { maxSteps: 100_000 }).report)).toEqual(["race"]);
});
