/** Matrix products and fragments of one warp: `mma.sync`, `ldmatrix`, `stmatrix`, `movmatrix` (PTX ISA 9.7.14). */
import { SimulateError } from "../finding.ts";
import type { Site, Value } from "../compile/site.ts";
import { recordOf, elementsOf, found, locate } from "../machine/access.ts";
import { bindAddress, inBounds } from "../machine/address.ts";
import { checkRead, checkWrite } from "../machine/check.ts";
import { countAccess } from "../machine/counts.ts";
import { wasWrite } from "../machine/journal.ts";
import type { Warp } from "../machine/warp.ts";
import {
  aligned16,
  aligned32,
  alignedDot,
  exactDot,
  findExponents,
  makeFactors,
  type Dot,
} from "../numeric/accumulate.ts";
import {
  bf16ToNumber,
  e4m3ToNumber,
  e5m2ToNumber,
  f16ToNumber,
  numberToF16,
  tf32ToNumber,
} from "../numeric/formats.ts";
import { checkAligned } from "./barrier.ts";
import type { Step, WarpRow } from "./row.ts";

interface ElementType {
  readonly bits: number;
  readonly decode: (bits: number) => number;
}

const signExtend =
  (bits: number): ((x: number) => number) =>
  (x) =>
    (x << (32 - bits)) >> (32 - bits);

export const elementTypes: Readonly<Record<string, ElementType>> = {
  f16: { bits: 16, decode: f16ToNumber },
  bf16: { bits: 16, decode: bf16ToNumber },
  tf32: { bits: 32, decode: tf32ToNumber },
  e4m3: { bits: 8, decode: e4m3ToNumber },
  e5m2: { bits: 8, decode: e5m2ToNumber },
  s8: { bits: 8, decode: signExtend(8) },
  u8: { bits: 8, decode: (x) => x },
  s4: { bits: 4, decode: signExtend(4) },
  u4: { bits: 4, decode: (x) => x },
};

const registersOf = (site: Site, value: Value | undefined): number[] =>
  elementsOf(site, value).map((element) => element.base);

/**
 * One operand of mma.sync into a dense array. Each register holds `32 / bits` neighbours along k; lane l owns row
 * (or column) l / 4 and the k positions of l % 4; registers step over the rows by 8, then over k (9.7.14.5).
 */
function gather(
  w: Warp,
  registers: readonly number[],
  type: ElementType,
  rows: number,
  k: number,
  into: Float64Array,
): void {
  const per = 32 / type.bits;
  const field = type.bits === 32 ? -1 : (1 << type.bits) - 1;
  const halves = rows === 16 ? 2 : 1;
  registers.forEach((base, r) => {
    for (let lane = 0; lane < 32; lane++) {
      const row = (lane >> 2) + 8 * (r % halves);
      const column = (lane & 3) * per + Math.floor(r / halves) * 4 * per;
      const word = w.U[base + lane]!;
      for (let j = 0; j < per; j++)
        into[row * k + column + j] = type.decode((word >>> (j * type.bits)) & field);
    }
  });
}

interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

function parseShape(text: string): Shape {
  const [, m, n, k] = /^m(\d+)n(\d+)k(\d+)$/.exec(text)!;
  return { m: Number(m), n: Number(n), k: Number(k) };
}

function readAccumulator(
  w: Warp,
  registers: readonly number[],
  type: string,
  i: number,
  lane: number,
): number {
  if (type === "f16") return f16ToNumber((w.U[registers[i >> 1]! + lane]! >>> (16 * (i & 1))) & 0xffff);
  const at = registers[i]! + lane;
  return type === "f32" ? w.F[at]! : w.I[at]!;
}

function writeAccumulator(
  w: Warp,
  registers: readonly number[],
  type: string,
  i: number,
  lane: number,
  value: number,
): void {
  if (type === "f16") {
    const at = registers[i >> 1]! + lane;
    const shift = 16 * (i & 1);
    w.U[at] = (w.U[at]! & ~(0xffff << shift)) | (numberToF16(value) << shift);
    return;
  }
  const at = registers[i]! + lane;
  if (type === "s32") w.I[at] = value;
  else if (value === value) w.F[at] = value;
  else w.U[at] = 0x7fffffff;
}

const a = makeFactors(16 * 64);
const b = makeFactors(16 * 64);

/** 8-bit floats are widened to f16 first (sm_90 has no such instruction for a warp); integers are exact. */
function dotOf(from: string, to: string): Dot {
  if (to === "s32") return exactDot;
  const alignment = from === "tf32" ? aligned32 : aligned16;
  return alignedDot(to === "f16" ? { ...alignment, resultBits: Infinity } : alignment);
}

function bindMma(site: Site): Step {
  const { shape, at, bt, dt, ct, satfinite } = site.choices;
  const { m, n, k } = parseShape(shape!);
  const [aType, bType] = [elementTypes[at!]!, elementTypes[bt!]!];
  const [D, A, B, C] = site.operands.map((value) => registersOf(site, value)) as [
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
  const dot = dotOf(at!, dt!);
  return (w, mask) => {
    checkAligned(w, mask, site);
    gather(w, A, aType, m, k, a.values);
    gather(w, B, bType, n, k, b.values);
    if (dot !== exactDot) {
      findExponents(a, m * k);
      findExponents(b, n * k);
    }
    const sums = new Float64Array(32 * results);
    for (let lane = 0; lane < 32; lane++) {
      for (let i = 0; i < results; i++) {
        const row = (lane >> 2) + 8 * (i >> 1);
        const column = (lane & 3) * 2 + (i & 1);
        const sum = dot(a, row * k, b, column * k, k, readAccumulator(w, C, ct!, i, lane));
        sums[lane * results + i] = clamp ? Math.max(-2147483648, Math.min(2147483647, sum)) : sum;
      }
    }
    for (let lane = 0; lane < 32; lane++)
      for (let i = 0; i < results; i++) writeAccumulator(w, D, dt!, i, lane, sums[lane * results + i]!);
  };
}

/** f64 fragments: one 64-bit register an element, in the same arrangement. */
function bindMma64(site: Site): Step {
  const { m, k } = parseShape(site.choices["shape"]!);
  const [D, A, B, C] = site.operands.map((value) => registersOf(site, value).map((base) => base / 2)) as [
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
const mmaRows: readonly WarpRow[] = [
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

/** Calls `visit` with the matrix, row and region offset of each 16-byte row whose address a lane gives (9.7.14.5.15). */
function eachRow(
  w: Warp,
  site: Site,
  count: number,
  write: boolean,
  visit: (matrix: number, row: number, offset: number) => void,
): void {
  const checks = w.machine.options.memoryChecks;
  const flags = write ? wasWrite : 0;
  const record = recordOf(w, site.id, flags);
  for (let lane = 0; lane < 8 * count; lane++) {
    const offset = locate(w, site, site.choices["space"] ?? "generic", lane);
    const { region } = found;
    if (!inBounds(w, site, lane, region, offset, 16, 16)) continue;
    if (checks) (write ? checkWrite : checkRead)(w, region!, offset, 16, lane, record, flags);
    visit(lane >> 3, lane & 7, offset);
  }
  const lanes = count === 4 ? -1 : (1 << (8 * count)) - 1;
  countAccess(w, "shared", lanes, 16, write ? "written" : "read");
}

function bindLdmatrix(site: Site): Step {
  const registers = registersOf(site, site.operands[0]);
  const addressOf = bindAddress(site, site.operands[1]);
  const count = Number(site.choices["num"]!.slice(1));
  if (registers.length !== count)
    throw new SimulateError(
      `${site.instruction.text}: ${registers.length} registers for ${count} matrices`,
      site.instruction.line,
    );
  const transposed = site.choices["trans"] !== undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    addressOf(w, mask);
    const rows = new Uint16Array(64 * count);
    eachRow(w, site, count, false, (matrix, row, offset) => {
      for (let c = 0; c < 8; c++) rows[matrix * 64 + row * 8 + c] = found.region!.u16[(offset >> 1) + c]!;
    });
    registers.forEach((base, matrix) => {
      for (let lane = 0; lane < 32; lane++) {
        const [r, c] = [lane >> 2, 2 * (lane & 3)];
        const first = transposed ? c * 8 + r : r * 8 + c;
        const second = transposed ? first + 8 : first + 1;
        w.U[base + lane] = rows[matrix * 64 + first]! | (rows[matrix * 64 + second]! << 16);
      }
    });
  };
}

function bindStmatrix(site: Site): Step {
  const addressOf = bindAddress(site, site.operands[0]);
  const registers = registersOf(site, site.operands[1]);
  const count = Number(site.choices["num"]!.slice(1));
  if (registers.length !== count)
    throw new SimulateError(
      `${site.instruction.text}: ${registers.length} registers for ${count} matrices`,
      site.instruction.line,
    );
  const transposed = site.choices["trans"] !== undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    addressOf(w, mask);
    eachRow(w, site, count, true, (matrix, row, offset) => {
      for (let c = 0; c < 8; c++) {
        const [r, q] = transposed ? [c, row] : [row, c];
        const word = w.U[registers[matrix]! + r * 4 + (q >> 1)]!;
        found.region!.u16[(offset >> 1) + c] = word >>> (16 * (q & 1));
      }
    });
  };
}

function bindMovmatrix(site: Site): Step {
  const [to, from] = site.operands.map((value) => registersOf(site, value)[0]!) as [number, number];
  return (w, mask) => {
    checkAligned(w, mask, site);
    const rows = new Uint16Array(64);
    for (let lane = 0; lane < 32; lane++) {
      rows[2 * lane] = w.U[from + lane]!;
      rows[2 * lane + 1] = w.U[from + lane]! >>> 16;
    }
    for (let lane = 0; lane < 32; lane++) {
      const [r, c] = [lane >> 2, 2 * (lane & 3)];
      w.U[to + lane] = rows[c * 8 + r]! | (rows[(c + 1) * 8 + r]! << 16);
    }
  };
}

export const matrixRows: readonly WarpRow[] = [
  ...mmaRows,
  {
    pattern: "ldmatrix.sync.aligned.m8n8.num:x1|x2|x4.trans?trans.space?shared|shared::cta.b16",
    section: "9.7.14.5.15",
    writes: [0],
    bind: bindLdmatrix,
  },
  {
    pattern: "stmatrix.sync.aligned.m8n8.num:x1|x2|x4.trans?trans.space?shared|shared::cta.b16",
    section: "9.7.14.5.16",
    writes: [],
    bind: bindStmatrix,
  },
  {
    pattern: "movmatrix.sync.aligned.m8n8.trans.b16",
    section: "9.7.14.5.17",
    writes: [0],
    bind: bindMovmatrix,
  },
];
