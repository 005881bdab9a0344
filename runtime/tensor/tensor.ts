/** Tensors on the host: row-major, one typed array of storage elements. */
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes } from "../../compiler/types/dtype.ts";

export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Elements as stored, little-endian, `shape` product times the dtype's bytes. */
  readonly bytes: Uint8Array;
}

/** A tensor that cannot be: a bad shape, or bytes that do not fit it. */
export class TensorError extends Error {
  override readonly name = "TensorError";
}

/** More bytes than this cannot be one tensor here. */
const maxBytes = 2 ** 47;

/** Number of elements of a shape; 1 for a scalar. Throws `TensorError` for extents that are no counts or too many. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  let nonzero = 1;
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0) {
      throw new TensorError(`the extent ${extent} of the shape [${shape.join(", ")}] is not a count`);
    }
    count *= extent;
    // A zero must not hide a product that overflows: other code may multiply in another order.
    nonzero *= Math.max(extent, 1);
    if (nonzero > maxBytes) throw new TensorError(`the shape [${shape.join(", ")}] has too many elements`);
  }
  return count;
}

/** Bytes of a tensor as stored. */
export function byteCount(dtype: DType, shape: readonly number[]): number {
  return elementCount(shape) * dtypes[dtype].bytes;
}

/** A tensor over bytes that the caller hands over (they are not copied). Throws `TensorError` when they do not fit. */
export function tensorOf(dtype: DType, shape: readonly number[], bytes: Uint8Array): HostTensor {
  const expected = byteCount(dtype, shape);
  if (bytes.byteLength !== expected) {
    throw new TensorError(
      `${dtype}[${shape.join(", ")}] takes ${expected} bytes, and ${bytes.byteLength} were given`,
    );
  }
  return { dtype, shape: [...shape], bytes };
}

/** A tensor of zeros. */
export function zeros(dtype: DType, shape: readonly number[]): HostTensor {
  return { dtype, shape: [...shape], bytes: new Uint8Array(byteCount(dtype, shape)) };
}

/** `bf16[2, 128]`, as messages write it. */
export function typeText(tensor: { readonly dtype: DType; readonly shape: readonly number[] }): string {
  return `${tensor.dtype}[${tensor.shape.join(", ")}]`;
}
