/**
 * The address map. A generic address is 64 bits: its upper word says which memory, its lower word where.
 *
 * Shared memory: the window below, and in the lower word the rank of the block in its cluster (bits 24 and up)
 * over the offset, as on Hopper, where the address of a block's own variable already holds its rank. Global
 * memory: each allocation has an upper word of its own, so that no overrun can reach another allocation.
 */
export const windows: { readonly shared: number; readonly local: number; readonly param: number } = {
  shared: 0x7f,
  local: 0x7e,
  param: 0x7d,
};

/** The upper words of allocations start here, and those of device `n` at `n` times the stride above. */
export const firstAllocation = 0x100;
export const deviceStride = 0x10000;

/** Allocations start here within their upper word, so that a small negative index is out of bounds too. */
export const allocationBase = 0x10000;

/** Hopper keeps the first kilobyte of a block's shared memory for the system. */
export const sharedReserved = 1024;
