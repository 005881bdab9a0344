/** Plain loops over arrays in f64: the arithmetic that tests compare with, written apart from the compiler. */
import { nearest, numbers, random, stored } from "./oracle.ts";

export interface Table {
  readonly shape: readonly number[];
  readonly values: number[];
  at(...index: readonly number[]): number;
}

/** A table of f(i, j, ..) in row-major order. */
export function table(shape: readonly number[], f: (...index: number[]) => number): Table {
  const values: number[] = [];
  const index = shape.map(() => 0);
  const count = shape.reduce((a, b) => a * b, 1);
  for (let n = 0; n < count; n++) {
    values.push(f(...index));
    for (let k = shape.length - 1; k >= 0; k--) {
      index[k] = (index[k] ?? 0) + 1;
      if ((index[k] ?? 0) < (shape[k] ?? 0)) break;
      index[k] = 0;
    }
  }
  return of(shape, values);
}

export function of(shape: readonly number[], values: number[]): Table {
  return {
    shape,
    values,
    at(...index: readonly number[]): number {
      let flat = 0;
      if (index.length !== shape.length) throw new Error(`${index.length} indices for ${shape.length} axes`);
      index.forEach((i, k) => {
        if (!(i >= 0 && i < (shape[k] ?? 0)))
          throw new Error(`index ${i} of axis ${k} of [${shape.join(", ")}]`);
        flat = flat * (shape[k] ?? 0) + i;
      });
      return values[flat] ?? Number.NaN;
    },
  };
}

let seed = 1;
export function seeded(start: number): void {
  seed = start;
}
/** Random numbers in (-scale, scale) as the dtype holds them. */
export function noise(dtype: "bf16" | "f32" | "f16" | "e4m3", shape: readonly number[], scale = 1): Table {
  const next = random(seed++);
  return of(
    shape,
    stored(
      dtype,
      numbers(
        shape.reduce((a, b) => a * b, 1),
        next,
        scale,
      ),
    ),
  );
}

export function rounded(dtype: "bf16" | "f32" | "f16" | "e4m3", x: Table): Table {
  return of(x.shape, stored(dtype, x.values));
}

export const bf16 = (x: number): number => nearest("bf16", x);

export function sum(count: number, f: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += f(i);
  return total;
}

/** Softmax over the kept ones; all 0 where none is. */
export function softmax(scores: readonly number[], keep: readonly boolean[]): number[] {
  const max = Math.max(...scores.filter((_, i) => keep[i]));
  const e = scores.map((x, i) => (keep[i] ? Math.exp(x - max) : 0));
  const z = e.reduce((a, b) => a + b, 0);
  return e.map((x) => (z === 0 ? 0 : x / z));
}
export function rmsnorm(x: readonly number[], g: readonly number[], eps = 1e-6): number[] {
  const r = 1 / Math.sqrt(sum(x.length, (i) => (x[i] ?? 0) ** 2) / x.length + eps);
  return x.map((v, i) => v * r * (g[i] ?? 0));
}

/** Neighbouring pairs turned by pos * freq(i). */
export function rotated(x: readonly number[], pos: number, freq: (i: number) => number): number[] {
  return x.map((_, d) => {
    const i = Math.floor(d / 2);
    const [a, b] = [x[2 * i] ?? 0, x[2 * i + 1] ?? 0];
    const angle = pos * freq(i);
    return d % 2 === 0
      ? a * Math.cos(angle) - b * Math.sin(angle)
      : a * Math.sin(angle) + b * Math.cos(angle);
  });
}

export function row(x: Table, ...lead: readonly number[]): number[] {
  const width = x.shape[x.shape.length - 1] ?? 0;
  return Array.from({ length: width }, (_, i) => x.at(...lead, i));
}
