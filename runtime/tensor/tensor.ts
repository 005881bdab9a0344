/** Tensors on the host: row-major, one typed array of storage elements. */
import type { DType } from "../../compiler/types/dtype.ts";

export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Elements as stored, little-endian, `shape` product times the dtype's bytes. */
  readonly bytes: Uint8Array;
}
