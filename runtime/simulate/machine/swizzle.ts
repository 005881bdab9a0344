/** Shared-memory swizzles (PTX ISA 5.5.6): 16-byte units of a row change places with the row's number. */

/**
 * Where the byte at `address` of an unswizzled layout lies. Bits 4 to 6 are combined with bits 7 to 9, as many of
 * them as the span (32, 64 or 128 bytes) has bits for; 0 leaves the address as it is.
 */
export function swizzled(address: number, span: number): number {
  if (span === 0) return address;
  return address ^ (((address >> 7) & (span / 16 - 1)) << 4);
}
