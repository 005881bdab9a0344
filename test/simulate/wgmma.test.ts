/** wgmma: operand layouts against a description of their own, FP8 sums as Hopper makes them. */
import { describe, expect, test } from "vitest";
import { loadModule } from "../../runtime/simulate/index.ts";
import { elementAddress, type Descriptor, type OperandShape } from "../../runtime/simulate/machine/wgmma.ts";
import {
  aligned8,
  alignedDot,
  exactDot,
  findExponents,
  type Factors,
} from "../../runtime/simulate/numeric/accumulate.ts";
import { header, pointer } from "./harness.ts";
import { wgmmaTile } from "./kernels.mjs";
import { runSample, type Sample } from "./harness.ts";

/**
 * The canonical layouts as the manual draws them (PTX ISA 9.7.15.5.1, "Strides"): nested shapes with nested
 * strides, in units of 16 bytes, over which a swizzle acts on the bits of the byte address. `T` elements make 16 bytes.
 */
function canonical(shape: OperandShape, d: Descriptor, mn: number, k: number): number {
  const T = 16 / shape.bytes;
  const width = d.span === 0 ? 1 : d.span / 16;
  const [lbo, sbo] = [d.leading / 16, d.stride / 16];
  let unit: number;
  let inside: number;
  if (!shape.mnMajor) {
    // ((8, m), (T, 2 width)) : ((width T, SBO), (1, T)); without swizzle the second k unit is LBO away.
    inside = k % T;
    const unitK = Math.floor(k / T);
    unit = (mn % 8) * width + Math.floor(mn / 8) * sbo + (d.span === 0 ? unitK * lbo : unitK);
  } else {
    inside = mn % T;
    const unitM = Math.floor(mn / T);
    // ((T, width, m), (8, k)) : ((1, T, LBO), (width T, SBO)); without swizzle m steps by SBO and k by LBO.
    unit =
      d.span === 0
        ? unitM * sbo + (k % 8) + Math.floor(k / 8) * lbo
        : (unitM % width) + Math.floor(unitM / width) * lbo + (k % 8) * width + Math.floor(k / 8) * sbo;
  }
  const address = d.start + unit * 16 + inside * shape.bytes;
  // Swizzle<B, 4, 3>: the B bits from 4 up are combined with those from 7 up.
  const bits = Math.log2(width);
  let result = address;
  for (let bit = 0; bit < bits; bit++) result ^= ((address >> (7 + bit)) & 1) << (4 + bit);
  return result;
}

describe("operand addresses", () => {
  const spans = [0, 32, 64, 128];
  test.each(spans.flatMap((span) => [1, 2, 4].map((bytes) => [span, bytes] as const)))(
    "K-major, span %i, %i bytes",
    (span, bytes) => {
      const shape: OperandShape = { extent: 64, k: 32 / bytes, bytes, mnMajor: false };
      const d: Descriptor = {
        start: 4096 + 32,
        leading: span === 0 ? 2048 : 16,
        stride: span === 0 ? 128 : 8 * span,
        span,
      };
      const base = { ...d, start: span <= 32 ? 4096 : d.start };
      const seen = new Set<number>();
      for (let mn = 0; mn < 64; mn++) {
        for (let k = 0; k < shape.k; k++) {
          const at = elementAddress(base, shape, mn, k);
          expect(at).toBe(canonical(shape, base, mn, k));
          seen.add(at);
        }
      }
      expect(seen.size).toBe(64 * shape.k);
    },
  );
  test.each(spans)("MN-major, span %i", (span) => {
    const shape: OperandShape = { extent: 128, k: 16, bytes: 2, mnMajor: true };
    const d: Descriptor = {
      start: 8192,
      leading: span === 0 ? 128 : 16 * span,
      stride: span === 0 ? 256 : 8 * span,
      span,
    };
    const seen = new Set<number>();
    for (let mn = 0; mn < 128; mn++) {
      for (let k = 0; k < 16; k++) {
        const at = elementAddress(d, shape, mn, k);
        expect(at).toBe(canonical(shape, d, mn, k));
        seen.add(at);
      }
    }
    expect(seen.size).toBe(128 * 16);
  });
});

describe("every dtype, swizzle and major-ness multiplies right", () => {
  const samples = [
    ...["bf16", "f16", "tf32", "e4m3", "e5m2", "s8", "u8"].flatMap((type) =>
      [0, 32, 64, 128].map((span) => wgmmaTile({ type, span, n: 16 })),
    ),
    ...["bf16", "f16"].flatMap((type) =>
      [0, 32, 64, 128].map((span) => wgmmaTile({ type, span, n: 64, major: "mn" })),
    ),
    ...["bf16", "f16", "tf32", "e4m3", "s8"].map((type) => wgmmaTile({ type, registersA: true, n: 8 })),
    wgmmaTile({ n: 256 }),
    wgmmaTile({ n: 152 }),
  ] as Sample[];
  test.each(samples.map((sample) => [sample.name, sample] as const))("%s", (_, sample) => {
    const { report, outputs } = runSample(sample, { seed: 5 });
    expect(report.findings).toEqual([]);
    sample.check(outputs);
  });
});

const hopperDot = alignedDot(aligned8);

function factors(values: Float64Array): Factors {
  const made = { values, exponents: new Int32Array(values.length) };
  findExponents(made, values.length, -126);
  return made;
}

/**
 * How far the sum may lie from the true one, for `k` products added 32 at a time whose absolute values sum to
 * `magnitude`: each group drops less than one unit a term, and one more when the accumulator is cut; a unit is 2^-13
 * of a power of two that is at most the magnitude.
 */
const bound = (k: number, magnitude: number): number => Math.ceil(k / 32) * 34 * magnitude * 2 ** -13;

/** Sums 1.0625 (which e4m3 holds) with 1 over k; the short accumulator loses the small parts as it grows. */
function longSum(k: number, model: "exact" | "hopper", promote: number): number {
  const a = factors(new Float64Array(k).fill(1.125));
  const b = factors(new Float64Array(k).fill(0.9375));
  const dot = model === "exact" ? exactDot : hopperDot;
  let total = 0;
  for (let start = 0; start < k; start += promote) {
    let sum = 0;
    for (let p = start; p < Math.min(k, start + promote); p += 32) sum = dot(a, p, b, p, 32, sum);
    total = Math.fround(total + sum);
  }
  return total;
}

describe("FP8 accumulation", () => {
  test("the short accumulator drifts over a long k, and promotion every 128 elements keeps it near", () => {
    const k = 8192;
    const truth = k * 1.125 * 0.9375;
    const error = (x: number): number => Math.abs(x - truth) / truth;
    expect(error(longSum(k, "exact", k))).toBeLessThan(1e-6);
    const short = error(longSum(k, "hopper", k));
    const promoted = error(longSum(k, "hopper", 128));
    expect(short).toBeGreaterThan(1e-3);
    expect(promoted).toBeLessThan(short / 5);
  });

  test("sums of few bits are exact under both models", () => {
    const a = factors(Float64Array.from({ length: 32 }, (_, p) => (p % 5) - 2));
    const b = factors(Float64Array.from({ length: 32 }, (_, p) => (p % 3) - 1));
    expect(hopperDot(a, 0, b, 0, 32, 7)).toBe(exactDot(a, 0, b, 0, 32, 7));
  });

  test("the bound holds for random operands", () => {
    let state = 5;
    const next = (): number =>
      ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296 - 0.5) * 2;
    for (let round = 0; round < 500; round++) {
      const k = 128;
      const a = factors(
        Float64Array.from({ length: k }, () => Math.fround(next() * 2 ** Math.floor(next() * 8))),
      );
      const b = factors(Float64Array.from({ length: k }, () => Math.fround(next())));
      let sum = 0;
      for (let p = 0; p < k; p += 32) sum = hopperDot(a, p, b, p, 32, sum);
      const magnitude = a.values.reduce((m, x, p) => m + Math.abs(x * b.values[p]!), 0);
      expect(Math.abs(sum - exactDot(a, 0, b, 0, k, 0))).toBeLessThanOrEqual(bound(k, magnitude));
    }
  });

  test("the launch option selects the model", () => {
    const e4m3 = (x: number): number => (x === 1 ? 0x38 : 0x7e);
    const sample = wgmmaTile({ type: "e4m3", span: 32, n: 8 }) as Sample;
    // One large product beside 31 small ones: the small ones fall below the kept bits.
    const args = sample.args.map((arg) =>
      arg.in === undefined
        ? arg
        : { ...arg, in: (arg.in as Uint8Array).map((_, i) => e4m3(i % 32 === 0 ? 448 : 1)) },
    );
    const value = (fp8Accumulate: "exact" | "hopper"): number =>
      new Float32Array(runSample({ ...sample, args }, { fp8Accumulate }).outputs[0]!.slice().buffer)[0]!;
    expect(value("exact")).toBe(448 * 448 + 31);
    expect(value("hopper")).toBe(448 * 448);
  });
});

test("systems of several devices signal each other through peer memory", async () => {
  const { createSystem, launchAll } = await import("../../runtime/simulate/index.ts");
  // Each device writes its number to the peer, raises the peer's flag, and waits for its own.
  const ptx = (store: string, load: string): string => `${header()}
.visible .entry test(.param .u64 pMine, .param .u64 pPeer, .param .u64 pOut, .param .u32 pRank)
{
  .reg .b64 mine, peer, out, o; .reg .b32 t, v, rank; .reg .pred p;
  ld.param.u64 mine, [pMine]; ld.param.u64 peer, [pPeer]; ld.param.u64 out, [pOut]; ld.param.u32 rank, [pRank];
  mov.u32 t, %tid.x;
  mul.wide.u32 o, t, 4;
  add.u64 peer, peer, o;
  mad.lo.u32 v, rank, 1000, t;
  st.global.u32 [peer+128], v;
  bar.warp.sync -1;
  sub.u64 peer, peer, o;
  setp.eq.u32 p, t, 0;
  @p ${store} [peer], 1;
WAIT:
  ${load} v, [mine];
  setp.eq.u32 p, v, 0;
  @p bra WAIT;
  add.u64 mine, mine, o;
  ld.global.u32 v, [mine+128];
  add.u64 out, out, o;
  st.global.u32 [out], v;
  ret;
}
`;
  const findings = (store: string, load: string, seed: number): { codes: string[]; out: number[][] } => {
    const system = createSystem(2);
    const module = loadModule(ptx(store, load));
    const boxes = system.devices.map((device) => {
      const box = device.alloc(256);
      device.fill(box, 0, 0, 4);
      return box;
    });
    const outs = system.devices.map((device) => device.alloc(128));
    const report = launchAll(
      system.devices.map((device, rank) => ({
        module,
        kernel: "test",
        device,
        grid: [1, 1, 1] as const,
        block: [32, 1, 1] as const,
        args: [
          pointer(boxes[rank]!),
          pointer(boxes[1 - rank]!),
          pointer(outs[rank]!),
          { kind: "u32" as const, value: rank },
        ],
      })),
      { seed },
    );
    return {
      codes: report.findings.map((finding) => finding.code),
      out: outs.map((out, rank) => [...new Uint32Array(system.devices[rank]!.read(out).buffer)]),
    };
  };
  for (let seed = 0; seed < 6; seed++) {
    const { codes, out } = findings("st.release.sys.global.u32", "ld.acquire.sys.global.u32", seed);
    expect(codes).toEqual([]);
    expect(out).toEqual([1, 0].map((peer) => Array.from({ length: 32 }, (_, t) => 1000 * peer + t)));
  }
  // A scope that ends at the device does not reach the peer.
  expect(findings("st.release.gpu.global.u32", "ld.acquire.gpu.global.u32", 0).codes).toContain("race");
  expect(findings("st.relaxed.sys.global.u32", "ld.relaxed.sys.global.u32", 0).codes).toContain("race");
});
