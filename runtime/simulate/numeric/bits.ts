/** Bit operations that JavaScript has no operator for (PTX ISA 9.7.1, 9.7.2, 9.7.8). */

export function popc32(a: number): number {
  let x = a - ((a >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

const lowWord = (a: bigint): number => Number(BigInt.asUintN(32, a));
const highWord = (a: bigint): number => Number(BigInt.asUintN(32, a >> 32n));

export function popc64(a: bigint): number {
  return popc32(lowWord(a)) + popc32(highWord(a));
}

export function clz64(a: bigint): number {
  const high = highWord(a);
  return high === 0 ? 32 + Math.clz32(lowWord(a)) : Math.clz32(high);
}

/** Position of the top bit that differs from the sign, or how far to shift it to the top; -1 when there is none. */
export function bfind(a: number | bigint, bits: number, shiftAmount: boolean): number {
  const value = BigInt(a);
  const magnitude = BigInt.asUintN(bits, value < 0n ? ~value : value);
  const position = 63 - clz64(magnitude);
  return position < 0 ? 0xffffffff : shiftAmount ? bits - 1 - position : position;
}

/** The position of the n-th set bit of `mask` from `base`, upwards for n > 0, downwards for n < 0. */
export function fns(mask: number, base: number, n: number): number {
  if (n === 0) return base < 32 && (mask >>> base) & 1 ? base : 0xffffffff;
  const step = n < 0 ? -1 : 1;
  let left = Math.abs(n);
  for (let i = base; i >= 0 && i < 32; i += step) if ((mask >>> i) & 1 && --left === 0) return i;
  return 0xffffffff;
}

export function brev32(a: number): number {
  let x = a;
  x = ((x >>> 1) & 0x55555555) | ((x & 0x55555555) << 1);
  x = ((x >>> 2) & 0x33333333) | ((x & 0x33333333) << 2);
  x = ((x >>> 4) & 0x0f0f0f0f) | ((x & 0x0f0f0f0f) << 4);
  x = ((x >>> 8) & 0x00ff00ff) | ((x & 0x00ff00ff) << 8);
  return ((x >>> 16) | (x << 16)) >>> 0;
}

export function brev64(a: bigint): bigint {
  return (BigInt(brev32(lowWord(a))) << 32n) | BigInt(brev32(highWord(a)));
}

/**
 * What positions and lengths of a bit field count modulo: 256 for 32 bits, as 9.7.1.19 says. For 64 bits it says the
 * same, but Hopper, which has no such instruction, takes all 32 bits of both.
 */
const fieldMask = (bits: number): number => (bits === 64 ? 0xffffffff : 255);

/** A field of `length` bits from `position`. */
export function bfe(
  a: number | bigint,
  position: number,
  length: number,
  bits: number,
  signed: boolean,
): number | bigint {
  const mask = fieldMask(bits);
  const start = Math.min((position & mask) >>> 0, bits);
  const size = Math.min((length & mask) >>> 0, bits);
  const value = BigInt.asUintN(bits, BigInt(a));
  const field = BigInt.asUintN(size, value >> BigInt(start));
  if (!signed || size === 0) return bits === 64 ? field : Number(field);
  // The sign is the top bit of the field, or of `a` where the field reaches beyond it.
  const top = Math.min(start + size - 1, bits - 1);
  const sign = (value >> BigInt(top)) & 1n;
  const kept = BigInt(Math.min(size, bits - start));
  const extended = sign === 1n ? field | (-1n << kept) : field;
  return bits === 64 ? extended : Number(BigInt.asIntN(32, extended));
}

export function bfi(
  a: number | bigint,
  b: number | bigint,
  position: number,
  length: number,
  bits: number,
): number | bigint {
  const limit = fieldMask(bits);
  const start = BigInt(Math.min((position & limit) >>> 0, bits));
  const size = Math.min((length & limit) >>> 0, bits);
  const mask = BigInt.asUintN(bits, BigInt.asUintN(size, -1n) << start);
  const result = (BigInt(b) & ~mask) | ((BigInt(a) << start) & mask);
  return bits === 64 ? result : Number(BigInt.asUintN(32, result));
}

export function szext(a: number, width: number, signed: boolean, clamp: boolean): number {
  const bits = clamp ? Math.min(width, 32) : width & 31;
  if (bits === 0) return 0;
  return signed ? (a << (32 - bits)) >> (32 - bits) : (a << (32 - bits)) >>> (32 - bits);
}

export function bmsk(a: number, b: number, clamp: boolean): number {
  const start = clamp ? Math.min(a, 32) : a & 31;
  const size = clamp ? Math.min(b, 32) : b & 31;
  return Number(BigInt.asUintN(32, BigInt.asUintN(size, -1n) << BigInt(start)));
}

const byte = (a: number, i: number, signed: boolean): number =>
  signed ? (a << (24 - 8 * i)) >> 24 : (a >>> (8 * i)) & 255;
const half = (a: number, i: number, signed: boolean): number =>
  signed ? (a << (16 - 16 * i)) >> 16 : (a >>> (16 * i)) & 0xffff;

export function dp4a(a: number, b: number, aSigned: boolean, bSigned: boolean): number {
  let sum = 0;
  for (let i = 0; i < 4; i++) sum += byte(a, i, aSigned) * byte(b, i, bSigned);
  return sum;
}

export function dp2a(a: number, b: number, aSigned: boolean, bSigned: boolean): number {
  return half(a, 0, aSigned) * byte(b, 0, bSigned) + half(a, 1, aSigned) * byte(b, 1, bSigned);
}

export function lop3(a: number, b: number, c: number, table: number): number {
  let result = 0;
  for (let i = 0; i < 8; i++) {
    if ((table >>> i) & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  }
  return result;
}

export function funnelLeft(a: number, b: number, by: number): number {
  return by === 0 ? b : by === 32 ? a : (b << by) | (a >>> (32 - by));
}

export function funnelRight(a: number, b: number, by: number): number {
  return by === 0 ? a : by === 32 ? b : (b << (32 - by)) | (a >>> by);
}

/** Adds and leaves the carry out of the top bit in `carries[lane]` (CC.CF, 9.7.2). */
export function addCarry(
  carries: Int32Array,
  lane: number,
  a: number | bigint,
  b: number | bigint,
  carry: number,
  wide: boolean,
): number | bigint {
  const bits = wide ? 64 : 32;
  const sum = BigInt.asUintN(bits, BigInt(a)) + BigInt.asUintN(bits, BigInt(b)) + BigInt(carry);
  carries[lane] = Number(sum >> BigInt(bits));
  return wide ? sum : Number(BigInt.asUintN(32, sum));
}

/** Subtracts as a + ~b + carry, and leaves the carry out: 1 where nothing was borrowed. */
export function subCarry(
  carries: Int32Array,
  lane: number,
  a: number | bigint,
  b: number | bigint,
  carry: number,
  wide: boolean,
): number | bigint {
  const bits = wide ? 64 : 32;
  const difference = BigInt.asUintN(bits, BigInt(a)) - BigInt.asUintN(bits, BigInt(b)) - BigInt(1 - carry);
  carries[lane] = difference < 0n ? 0 : 1;
  return wide ? difference : Number(BigInt.asUintN(32, difference));
}

/** Picks bytes of the pair {b, a} (9.7.9.7); `mode` names the special forms. */
export function prmt(a: number, b: number, selector: number, mode: string): number {
  const at = (i: number): number => (i < 4 ? (a >>> (8 * i)) & 255 : (b >>> (8 * (i - 4))) & 255);
  const s = selector & 3;
  let result = 0;
  for (let i = 0; i < 4; i++) {
    let value: number;
    if (mode === "") {
      const pick = (selector >>> (4 * i)) & 15;
      value = at(pick & 7);
      if (pick & 8) value = value & 128 ? 255 : 0;
    } else {
      const index: Record<string, number> = {
        f4e: s + i,
        b4e: (s - i + 8) & 7,
        rc8: s,
        ecl: Math.max(i, s),
        ecr: Math.min(i, s),
        rc16: (s & 1) * 2 + (i & 1),
      };
      value = at(index[mode]!);
    }
    result |= value << (8 * i);
  }
  return result;
}
