/**
 * Places temporaries in one allocation: tensors whose lives do not overlap share a slot.
 *
 *     t0 |----|                 slot 0: t0, t2
 *     t1    |------|      =>    slot 1: t1
 *     t2         |-----|
 *
 * A slot is as large as its largest tensor; slots follow each other at multiples of 256 bytes. Sizes may be
 * symbolic, so slots are chosen by order of first use: a slot that is free is always taken before a new one is made,
 * for max(a, b) is never more than a + b. Distinct slots never overlap whatever the dims; that two tensors of one slot
 * are never alive at once is what the intervals say.
 */
import type { Dim } from "../types/dim.ts";
import { add, ceildiv, constant, dimKey, isConstant, max, mul, zero } from "../types/dim.ts";

/** A tensor between launches. */
export interface Temporary {
  readonly id: number;
  readonly bytes: Dim;
  /** Positions of the first and the last launch that touch it. */
  readonly first: number;
  readonly last: number;
}

export interface BufferAssignment {
  /** Offset in bytes by temporary. Two temporaries have one offset if and only if they share a slot. */
  readonly offsets: ReadonlyMap<number, Dim>;
  /** Size of the whole allocation in bytes. */
  readonly bytes: Dim;
}

/** WebGPU binds a buffer at multiples of this, and no device asks for more. */
export const slotAlign = 256;

/** Distinct symbolic sizes of one slot: each nests its `max` one deeper. */
const maxSizes = 16;

interface Slot {
  bytes: Dim;
  readonly keys: Set<string>;
  /** Last launch that touches its present tensor. */
  last: number;
  readonly members: number[];
}

export function assignBuffers(temporaries: readonly Temporary[]): BufferAssignment {
  const slots: Slot[] = [];
  for (const temporary of [...temporaries].sort((a, b) => a.first - b.first || a.id - b.id)) {
    const slot = freeSlot(slots, temporary) ?? newSlot(slots);
    slot.bytes = slot.members.length === 0 ? temporary.bytes : larger(slot.bytes, temporary.bytes);
    slot.keys.add(dimKey(temporary.bytes));
    slot.last = temporary.last;
    slot.members.push(temporary.id);
  }
  const offsets = new Map<number, Dim>();
  let end: Dim = zero;
  for (const slot of slots) {
    for (const id of slot.members) offsets.set(id, end);
    end = add(end, aligned(slot.bytes));
  }
  return { offsets, bytes: end };
}

function newSlot(slots: Slot[]): Slot {
  const slot: Slot = { bytes: zero, keys: new Set(), last: -1, members: [] };
  slots.push(slot);
  return slot;
}

/** The free slot that grows least, as far as sizes can be told: one of this very size, the tightest that fits, the largest. */
function freeSlot(slots: readonly Slot[], { bytes, first }: Temporary): Slot | undefined {
  const key = dimKey(bytes);
  const free = slots.filter((slot) => slot.last < first && (slot.keys.has(key) || slot.keys.size < maxSizes));
  const same = free.find((slot) => slot.keys.has(key));
  if (same !== undefined || !isConstant(bytes)) return same ?? free.at(-1);
  const sized = free.flatMap((slot) => (isConstant(slot.bytes) ? [{ slot, size: slot.bytes.value }] : []));
  sized.sort((a, b) => a.size - b.size);
  const fitting = sized.find(({ size }) => size >= bytes.value);
  return (fitting ?? sized.at(-1))?.slot ?? free.at(-1);
}

function larger(a: Dim, b: Dim): Dim {
  return dimKey(a) === dimKey(b) ? a : max(a, b);
}

function aligned(bytes: Dim): Dim {
  return mul(constant(slotAlign), ceildiv(bytes, constant(slotAlign)));
}
