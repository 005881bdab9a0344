/** Kernels that move every dtype at every width: plain, guarded, by way of shared memory. Shape as in `op-kernels.ts`. */
import { elementType, KernelBuilder } from "../../../compiler/kernel/builder.ts";
import type { Value } from "../../../compiler/kernel/ir.ts";
import type { ScalarValue } from "../../../compiler/kernel/scalar.ts";
import { constant } from "../../../compiler/types/dim.ts";
import { dtypes, type DType } from "../../../compiler/types/dtype.ts";
import type { OpCase } from "./op-kernels.ts";

const threads = 32;
const all: readonly DType[] = ["f32", "f16", "bf16", "e4m3", "e5m2", "i64", "i32", "u32", "i8", "u8", "bool"];

export function memoryCases(): readonly OpCase[] {
  return all.flatMap((dtype) =>
    [1, 2, 4, 8, 16]
      .filter((count) => count * dtypes[dtype].bytes <= 16)
      .map((count) => memoryCase(dtype, count)),
  );
}

/** Element `i` of a made-up array; distinct where the dtype is wide enough. */
function element(dtype: DType, i: number): ScalarValue {
  switch (dtype) {
    case "bool":
      return i % 3 === 1;
    case "i64":
      return BigInt(i) * 4294967297n - 5n;
    case "f32":
      return Math.fround(i * 1.1 - 7);
    case "i32":
      return i * 65537 - 9;
    case "u32":
      return (i * 2654435761) >>> 0;
    default:
      return (i * 257 + 3) % (dtypes[dtype].bytes === 2 ? 65536 : 256);
  }
}

function memoryCase(dtype: DType, count: number): OpCase {
  const length = threads * count;
  const values = Array.from({ length }, (_, i) => element(dtype, i));
  const b = new KernelBuilder(threads);
  const array = (name: string, access: "read" | "write") =>
    b.buffer({ name, dtype, length: constant(length), access, align: 16 });
  const x = array("x", "read");
  const [plain, zeros, others, masked, mirrored] = [
    array("plain", "write"),
    array("zeros", "write"),
    array("others", "write"),
    array("masked", "write"),
    array("mirrored", "write"),
  ];
  const tile = b.shared({ name: "tile", dtype, length });
  const thread = b.thread();
  const at = b.mul(thread, b.i32(count), "at");
  const isLow = b.lt(thread, b.i32(20), "low");
  const otherwise: Value = b.constant(elementType(dtype), element(dtype, 4));

  b.store(plain, at, b.loadWide(x, at, { count }));
  b.store(zeros, at, b.loadWide(x, at, { count, guard: isLow }));
  b.store(others, at, b.loadWide(x, at, { count, guard: isLow, otherwise }));
  // The buffer is written first where the guarded store leaves it.
  b.store(
    masked,
    at,
    Array.from({ length: count }, () => otherwise),
  );
  b.store(masked, at, b.loadWide(x, at, { count }), isLow);
  b.store(tile, at, b.loadWide(x, at, { count }));
  b.barrier();
  const opposite = b.mul(b.sub(b.i32(threads - 1), thread), b.i32(count), "opposite");
  b.store(mirrored, at, b.loadWide(tile, opposite, { count }));

  const where = (other: ScalarValue): readonly ScalarValue[] =>
    values.map((value, i) => (i < 20 * count ? value : other));
  const zero: ScalarValue = dtype === "i64" ? 0n : dtype === "bool" ? false : 0;
  const output = (label: string, list: readonly ScalarValue[]) => ({ label, dtype, values: list });
  const kernel = b.finish({
    name: `move_${dtype}_${count}`,
    grid: [constant(1), constant(1), constant(1)],
    summary: `${count} ${dtype} at once`,
    files: [],
  });
  return {
    kernel,
    inputs: [{ dtype, values }],
    outputs: [
      output("plain", values),
      output("zeros", where(zero)),
      output("others", where(element(dtype, 4))),
      output("masked", where(element(dtype, 4))),
      output(
        "mirrored",
        values.map((_, i) => values[(threads - 1 - Math.floor(i / count)) * count + (i % count)] ?? zero),
      ),
    ],
  };
}
