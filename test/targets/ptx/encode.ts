/** Scalars of the kernel IR to memory and back. */
import { elementType } from "../../../compiler/kernel/builder.ts";
import { scalarBits, type ScalarValue } from "../../../compiler/kernel/scalar.ts";
import { dtypes, type DType } from "../../../compiler/types/dtype.ts";

export function encodeScalars(dtype: DType, values: readonly ScalarValue[]): Uint8Array {
  const { bytes } = dtypes[dtype];
  const out = new Uint8Array(values.length * bytes);
  const view = new DataView(out.buffer);
  for (const [i, value] of values.entries()) {
    if (typeof value === "bigint") view.setBigInt64(i * 8, value, true);
    else if (bytes === 4) view.setUint32(i * 4, scalarBits(elementType(dtype), value), true);
    else if (bytes === 2) view.setUint16(i * 2, Number(value), true);
    else view.setUint8(i, Number(value));
  }
  return out;
}

/** One element's bits; every NaN of a float is one. */
export function elementText(dtype: DType, bytes: Uint8Array, i: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === "f32") {
    const value = view.getFloat32(i * 4, true);
    return Object.is(value, -0) ? "-0" : String(value);
  }
  switch (dtypes[dtype].bytes) {
    case 8:
      return String(view.getBigInt64(i * 8, true));
    case 4:
      return String(view.getUint32(i * 4, true));
    case 2:
      return String(view.getUint16(i * 2, true));
    default:
      return String(view.getUint8(i));
  }
}
