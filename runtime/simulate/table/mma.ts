/** Matrix products of one warp: `mma.sync` (PTX ISA 9.7.14.5). */
import { SimulateError } from "../finding.ts";
import type { Site } from "../compile/site.ts";
import { makeFactors } from "../numeric/accumulate.ts";
import { checkAligned } from "./barrier.ts";
import {
  basesOf,
  clampS32,
  elementTypes,
  gatherFragment,
  groupDot,
  isWidened,
  prepare,
  readAccumulator,
  widenedDot,
  widenedPlace,
  writeAccumulator,
} from "./fragments.ts";
import type { Step, WarpRow } from "./row.ts";

interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

function parseShape(text: string): Shape {
  const [, m, n, k] = /^m(\d+)n(\d+)k(\d+)$/.exec(text)!;
  return { m: Number(m), n: Number(n), k: Number(k) };
}

const a = makeFactors(16 * 64);
const b = makeFactors(16 * 64);

function bindMma(site: Site): Step {
  const { shape, at, bt, dt, ct, satfinite } = site.choices;
  const { m, n, k } = parseShape(shape!);
  const [aType, bType] = [elementTypes[at!]!, elementTypes[bt!]!];
  const [D, A, B, C] = site.operands.map((value) => basesOf(site, value)) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const expect = (name: string, list: readonly number[], count: number): void => {
    if (list.length !== count)
      throw new SimulateError(
        `${site.instruction.text}: ${list.length} registers for ${name}, which takes ${count}`,
        site.instruction.line,
      );
  };
  expect("a", A, (m * k * aType.bits) / 1024);
  expect("b", B, (n * k * bType.bits) / 1024);
  const results = (m * n) / 32;
  expect("c", C, ct === "f16" ? results / 2 : results);
  expect("d", D, dt === "f16" ? results / 2 : results);
  const clamp = satfinite !== undefined;
  const widened = isWidened(at!);
  const dot = widened ? widenedDot(dt!) : groupDot(at!, dt!);
  const place = widened ? widenedPlace(k) : undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    gatherFragment(w, A, aType, m === 16 ? 2 : 1, k, a.values, place);
    gatherFragment(w, B, bType, 1, k, b.values, place);
    prepare(a, aType, m * k);
    prepare(b, bType, n * k);
    const sums = new Float64Array(32 * results);
    for (let lane = 0; lane < 32; lane++) {
      for (let i = 0; i < results; i++) {
        const row = (lane >> 2) + 8 * (i >> 1);
        const column = (lane & 3) * 2 + (i & 1);
        const sum = dot(a, row * k, b, column * k, k, readAccumulator(w, C, ct!, i, lane));
        sums[lane * results + i] = clamp ? clampS32(sum) : sum;
      }
    }
    for (let lane = 0; lane < 32; lane++)
      for (let i = 0; i < results; i++) writeAccumulator(w, D, dt!, i, lane, sums[lane * results + i]!);
  };
}

/** f64 fragments: one 64-bit register an element, in the same arrangement. */
function bindMma64(site: Site): Step {
  const { m, k } = parseShape(site.choices["shape"]!);
  const [D, A, B, C] = site.operands.map((value) => basesOf(site, value).map((base) => base / 2)) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const halves = m === 16 ? 2 : 1;
  return (w, mask) => {
    checkAligned(w, mask, site);
    for (let lane = 0; lane < 32; lane++) {
      A.forEach(
        (base, r) =>
          (a.values[((lane >> 2) + 8 * (r % halves)) * k + (lane & 3) + 4 * Math.floor(r / halves)] =
            w.D[base + lane]!),
      );
      B.forEach((base, r) => (b.values[(lane >> 2) * k + (lane & 3) + 4 * r] = w.D[base + lane]!));
    }
    for (let lane = 0; lane < 32; lane++) {
      C.forEach((base, i) => {
        let sum = w.D[base + lane]!;
        for (let p = 0; p < k; p++)
          sum +=
            a.values[((lane >> 2) + 8 * (i >> 1)) * k + p]! * b.values[((lane & 3) * 2 + (i & 1)) * k + p]!;
        w.D[D[i]! + lane] = sum;
      });
    }
  };
}

const shapes16 = "shape:m16n8k8|m16n8k16";
export const mmaRows: readonly WarpRow[] = [
  {
    pattern: `mma.sync.aligned.${shapes16}.row.col.dt:f16|f32.at:f16.bt:f16.ct:f16|f32`,
    section: "9.7.14.5.7",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern: `mma.sync.aligned.${shapes16}.row.col.dt:f32.at:bf16.bt:bf16.ct:f32`,
    section: "9.7.14.5.8",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern: "mma.sync.aligned.shape:m16n8k4|m16n8k8.row.col.dt:f32.at:tf32.bt:tf32.ct:f32",
    section: "9.7.14.5.6",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern:
      "mma.sync.aligned.shape:m16n8k16|m16n8k32.row.col.dt:f16|f32.at:e4m3|e5m2.bt:e4m3|e5m2.ct:f16|f32",
    section: "9.7.14.5.10",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern:
      "mma.sync.aligned.shape:m8n8k16|m16n8k16|m16n8k32.row.col.satfinite?satfinite.dt:s32.at:s8|u8.bt:s8|u8.ct:s32",
    section: "9.7.14.5.10",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern:
      "mma.sync.aligned.shape:m8n8k32|m16n8k32|m16n8k64.row.col.satfinite?satfinite.dt:s32.at:s4|u4.bt:s4|u4.ct:s32",
    section: "9.7.14.5.11",
    writes: [0],
    bind: bindMma,
  },
  {
    pattern: "mma.sync.aligned.shape:m8n8k4|m16n8k4|m16n8k8|m16n8k16.row.col.dt:f64.at:f64.bt:f64.ct:f64",
    section: "9.7.14.5.14",
    writes: [0],
    bind: bindMma64,
  },
];
