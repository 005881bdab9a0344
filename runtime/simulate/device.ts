/** Simulated devices and their memory. Devices of one system reach each other's buffers, as peers do over NVLink. */
import { SimulateError } from "./finding.ts";
import { makeJournal, type Journal } from "./machine/journal.ts";
import { makeRegion, markInitialised, type Region } from "./machine/region.ts";
import { allocationBase, deviceStride, firstAllocation } from "./machine/windows.ts";

/** A piece of device memory. Its address is 64-bit and unique in the system. */
export interface Buffer {
  readonly device: Device;
  readonly bytes: number;
  readonly address: bigint;
  readonly region: Region;
}

/** What devices share: one address space, and one journal of accesses. */
export interface System {
  readonly devices: readonly Device[];
  /** By the upper word of the address. */
  readonly regions: Map<number, Region>;
  readonly journal: Journal;
}

/** Hidden state: what is allocated. */
export class Device {
  readonly index: number;
  readonly system: System;
  private allocated = 0;

  constructor(system: System, index: number) {
    this.system = system;
    this.index = index;
  }

  /** Memory of `bytes`, whose bytes hold no value until something writes them. */
  alloc(bytes: number, name?: string): Buffer {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0xf0000000)
      throw new SimulateError(`cannot allocate ${bytes} bytes`);
    const high = firstAllocation + this.index * deviceStride + this.allocated;
    if (this.allocated >= deviceStride - firstAllocation) throw new SimulateError("too many allocations");
    const label = name ?? `buffer ${this.allocated} of device ${this.index}`;
    const region = makeRegion({
      name: label,
      kind: "global",
      size: bytes + allocationBase,
      low: allocationBase,
      device: this.index,
    });
    this.allocated++;
    this.system.regions.set(high, region);
    return { device: this, bytes, address: (BigInt(high) << 32n) | BigInt(allocationBase), region };
  }

  free(buffer: Buffer): void {
    this.system.regions.delete(Number(buffer.address >> 32n));
  }

  write(buffer: Buffer, data: ArrayBufferView, offset = 0): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    checkRange(buffer, offset, bytes.length);
    buffer.region.u8.set(bytes, allocationBase + offset);
    markInitialised(buffer.region, allocationBase + offset, bytes.length);
  }

  fill(buffer: Buffer, value: number, offset = 0, bytes: number = buffer.bytes - offset): void {
    checkRange(buffer, offset, bytes);
    buffer.region.u8.fill(value, allocationBase + offset, allocationBase + offset + bytes);
    markInitialised(buffer.region, allocationBase + offset, bytes);
  }

  read(buffer: Buffer, offset = 0, bytes: number = buffer.bytes - offset): Uint8Array {
    checkRange(buffer, offset, bytes);
    return buffer.region.u8.slice(allocationBase + offset, allocationBase + offset + bytes);
  }
}

function checkRange(buffer: Buffer, offset: number, bytes: number): void {
  if (offset < 0 || bytes < 0 || offset + bytes > buffer.bytes) {
    throw new SimulateError(
      `bytes ${offset} to ${offset + bytes} of ${buffer.region.name}, which has ${buffer.bytes}`,
    );
  }
}

export function createSystem(devices: number): System {
  const list: Device[] = [];
  const system: System = { devices: list, regions: new Map(), journal: makeJournal() };
  for (let i = 0; i < devices; i++) list.push(new Device(system, i));
  return system;
}

/** A device alone in its system. */
export function createDevice(): Device {
  return createSystem(1).devices[0]!;
}
