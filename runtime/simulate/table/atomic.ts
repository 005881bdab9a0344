/** Atomics and reductions on memory: `atom` and `red` (PTX ISA 9.7.13.7, 9.7.13.8). */
import { SimulateError } from "../finding.ts";
import { typeBytes } from "../parse/syntax.ts";
import type { Site, Value } from "../compile/site.ts";
import {
  bindWords,
  elementsOf,
  found,
  locate,
  recordOf,
  scopeNumber,
  storeElement,
  strong,
} from "../machine/access.ts";
import { bindAddress, inBounds } from "../machine/address.ts";
import { checkWrite, checkRead } from "../machine/check.ts";
import { countAccess } from "../machine/counts.ts";
import { wasWrite } from "../machine/journal.ts";
import { observe, publish, type Order } from "../machine/publish.ts";
import type { Region } from "../machine/region.ts";
import {
  bf16ToNumber,
  f16ToNumber,
  f32ToNumber,
  numberToBf16,
  numberToF16,
  numberToF32Bits,
} from "../numeric/formats.ts";
import { sumOdd } from "../numeric/exact.ts";
import { maximum, minimum } from "../numeric/functions.ts";
import type { Step, WarpRow } from "./row.ts";

/** The new bits of one element from its old bits and the operands. */
export type Update = (old: bigint, b: bigint, c: bigint) => bigint;

const integerOps: Readonly<Record<string, (old: bigint, b: bigint) => bigint>> = {
  and: (old, b) => old & b,
  or: (old, b) => old | b,
  xor: (old, b) => old ^ b,
  exch: (_, b) => b,
  add: (old, b) => old + b,
  min: (old, b) => (b < old ? b : old),
  max: (old, b) => (b > old ? b : old),
  // inc and dec wrap at the operand (9.7.13.7).
  inc: (old, b) => (old >= b ? 0n : old + 1n),
  dec: (old, b) => (old === 0n || old > b ? b : old - 1n),
};

interface Codec {
  readonly decode: (bits: number) => number;
  readonly encode: (x: number) => number;
}

const codecs: Readonly<Record<string, Codec>> = {
  f16: { decode: f16ToNumber, encode: numberToF16 },
  bf16: { decode: bf16ToNumber, encode: numberToBf16 },
  f32: { decode: f32ToNumber, encode: numberToF32Bits },
};

const floatOps: Readonly<Record<string, (old: number, b: number) => number>> = {
  add: sumOdd,
  min: (old, b) => minimum(old, b, false, false),
  max: (old, b) => maximum(old, b, false, false),
};

const scratch = new DataView(new ArrayBuffer(8));

function floatUpdate(op: string, type: string): Update | undefined {
  const combine = floatOps[op];
  if (combine === undefined) return undefined;
  if (type === "f64") {
    return (old, b) => {
      scratch.setBigUint64(0, old);
      const x = scratch.getFloat64(0);
      scratch.setBigUint64(0, b);
      scratch.setFloat64(0, op === "add" ? x + scratch.getFloat64(0) : combine(x, scratch.getFloat64(0)));
      return scratch.getBigUint64(0);
    };
  }
  const codec = codecs[type.replace("x2", "")];
  if (codec === undefined) return undefined;
  const one = (old: number, b: number): number => codec.encode(combine(codec.decode(old), codec.decode(b)));
  if (!type.endsWith("x2")) return (old, b) => BigInt(one(Number(old), Number(b)) >>> 0);
  return (old, b) => {
    const [x, y] = [Number(old), Number(b)];
    return BigInt(((one(x >>> 16, y >>> 16) << 16) | one(x & 0xffff, y & 0xffff)) >>> 0);
  };
}

/** The meaning of an operation on a type; undefined where the manual has none. */
export function updateOf(op: string, type: string): Update | undefined {
  const bits = typeBytes(type) * 8;
  if (/f/.test(type)) return op === "exch" ? (_, b) => b : floatUpdate(op, type);
  if (op === "cas") return (old, b, c) => (old === BigInt.asUintN(bits, b) ? BigInt.asUintN(bits, c) : old);
  const combine = integerOps[op];
  if (combine === undefined) return undefined;
  const read = type.startsWith("s")
    ? (x: bigint): bigint => BigInt.asIntN(bits, x)
    : (x: bigint): bigint => BigInt.asUintN(bits, x);
  return (old, b) => BigInt.asUintN(bits, combine(read(old), read(b)));
}

export function readElement(region: Region, offset: number, bytes: number): bigint {
  if (bytes === 2) return BigInt(region.u16[offset >> 1]!);
  const low = BigInt(region.u32[offset >> 2]!);
  return bytes === 4 ? low : low | (BigInt(region.u32[(offset >> 2) + 1]!) << 32n);
}

export function writeElement(region: Region, offset: number, bytes: number, value: bigint): void {
  storeElement(region, offset, bytes, Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
}

function bindAtomic(
  site: Site,
  destination: Value | undefined,
  address: Value | undefined,
  b: Value | undefined,
  c: Value | undefined,
): Step {
  const { op, type, space, sem, scope, vector } = site.choices;
  const update = updateOf(op!, type!);
  if (update === undefined)
    throw new SimulateError(`${site.instruction.text}: there is no ${op} of ${type}`, site.instruction.line);
  const bytes = typeBytes(type!);
  const count = vector === undefined ? 1 : Number(vector.slice(1));
  const addressOf = bindAddress(site, address);
  const operand = bindWords(site, b, bytes);
  const other = c === undefined ? undefined : bindWords(site, c, bytes)[0]!;
  const results = destination === undefined ? undefined : elementsOf(site, destination);
  const flags = strong(scope) | wasWrite;
  const order: Order = { sem: sem ?? "relaxed", scope: scopeNumber(scope) };
  const join64 = ([low, high]: [number, number]): bigint => BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n);
  return (w, mask) => {
    addressOf(w, mask);
    const checks = w.machine.options.memoryChecks;
    const record = recordOf(w, site.id, flags);
    let kind = "";
    for (let l = 0; l < 32; l++) {
      if (!((mask >>> l) & 1)) continue;
      const offset = locate(w, site, space ?? "generic", l);
      const { region } = found;
      if (!inBounds(w, site, l, region, offset, bytes * count, bytes * count)) continue;
      kind = region!.kind;
      observe(w, region!, offset, order);
      if (checks) {
        checkRead(w, region!, offset, bytes * count, l, record, flags);
        checkWrite(w, region!, offset, bytes * count, l, record, flags);
      }
      for (let e = 0; e < count; e++) {
        const old = readElement(region!, offset + e * bytes, bytes);
        const third = other === undefined ? 0n : join64(other(w, l, 0));
        writeElement(region!, offset + e * bytes, bytes, update(old, join64(operand[e]!(w, l, e)), third));
        const result = results?.[e];
        if (result !== undefined && result.base >= 0) {
          if (result.bits === 64) w.BU[result.base / 2 + l] = old;
          else w.U[result.base + l] = Number(old);
        }
      }
      publish(w, l, region!, offset, order, true);
    }
    for (const split of w.machine.runnable) split.polls = 0;
    if (w.machine.current !== undefined) w.machine.current.polls++;
    w.machine.yield = true;
    if (kind !== "") countAccess(w, kind, mask, bytes * count, "written");
  };
}

const head =
  "sem?relaxed|acquire|release|acq_rel.scope?cta|cluster|gpu|sys.space?global|shared|shared::cta|shared::cluster";
const ops = "op:and|or|xor|cas|exch|add|inc|dec|min|max";
const hint = "policy?L2::cache_hint";
const types = "type:b16|b32|b64|u32|u64|s32|s64|f16|f16x2|bf16|bf16x2|f32|f64";

const atom = (site: Site): Step => {
  const [d, address, b, c] = site.operands;
  return bindAtomic(site, d, address, b, site.choices["op"] === "cas" ? c : undefined);
};
const red = (site: Site): Step => bindAtomic(site, undefined, site.operands[0], site.operands[1], undefined);

export const atomicRows: readonly WarpRow[] = [
  { pattern: `atom.${head}.${ops}.ftz?noftz.${hint}.${types}`, section: "9.7.13.7", writes: [0], bind: atom },
  {
    pattern: `atom.${head}.op:add|min|max.ftz?noftz.${hint}.vector:v2|v4|v8.type:f32|f16|bf16|f16x2|bf16x2`,
    section: "9.7.13.7",
    writes: [0],
    bind: atom,
  },
  { pattern: `red.${head}.${ops}.ftz?noftz.${hint}.${types}`, section: "9.7.13.8", writes: [], bind: red },
  {
    pattern: `red.${head}.op:add|min|max.ftz?noftz.${hint}.vector:v2|v4|v8.type:f32|f16|bf16|f16x2|bf16x2`,
    section: "9.7.13.8",
    writes: [],
    bind: red,
  },
];
