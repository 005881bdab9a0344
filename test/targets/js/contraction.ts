/** A contraction as a schedule for one thread would have it: a block of 4 x 4 results in registers. */
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import type { Kernel } from "../../../compiler/kernel/ir.ts";
import { constant } from "../../../compiler/types/dim.ts";

export function contractionKernel(rows: number, columns: number, inner: number): Kernel {
  const b = new KernelBuilder(1);
  const a = b.buffer({ name: "a", dtype: "f32", length: constant(rows * inner), access: "read", align: 16 });
  const w = b.buffer({
    name: "w",
    dtype: "f32",
    length: constant(inner * columns),
    access: "read",
    align: 16,
  });
  const y = b.buffer({
    name: "y",
    dtype: "f32",
    length: constant(rows * columns),
    access: "write",
    align: 16,
  });
  const [row, column] = [b.mul(b.block(1), b.i32(4), "row"), b.mul(b.block(0), b.i32(4), "column")];
  const four = [0, 1, 2, 3];
  const sums = four.map((i) => four.map((j) => b.var(b.f32(0), `sum_${i}${j}`)));
  b.for(b.i32(0), b.i32(inner), 1, "k", (k) => {
    const left = four.map((i) => b.load(a, b.add(b.mul(b.add(row, b.i32(i)), b.i32(inner)), k)));
    const right = four.map((j) => b.load(w, b.add(b.add(b.mul(k, b.i32(columns)), column), b.i32(j))));
    sums.forEach((line, i) =>
      line.forEach((sum, j) => {
        const [x, z] = [left[i], right[j]];
        if (x !== undefined && z !== undefined) b.set(sum, b.fma(x, z, b.get(sum)));
      }),
    );
  });
  sums.forEach((line, i) =>
    line.forEach((sum, j) => {
      b.store(y, b.add(b.add(b.mul(b.add(row, b.i32(i)), b.i32(columns)), column), b.i32(j)), [b.get(sum)]);
    }),
  );
  return b.finish({
    name: "contract",
    grid: [constant(columns / 4), constant(rows / 4), constant(1)],
    summary: "y = a w",
    files: [],
  });
}
