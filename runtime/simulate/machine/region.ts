/**
 * A piece of simulated memory and its shadow: which bytes were written, and who touched each word last.
 *
 * A shadow entry names an access record of the journal and a lane: record * 32 + lane. A word keeps its last
 * write and two reads by different agents; more readers than that are forgotten, and found again under another
 * seed. Byte masks keep neighbours that write single bytes of a word from looking like a race.
 */

export interface Shadow {
  readonly write: Int32Array;
  readonly read: Int32Array;
  readonly otherRead: Int32Array;
  readonly writeMask: Uint8Array;
  readonly readMask: Uint8Array;
  readonly otherReadMask: Uint8Array;
  /** Bits 0 to 3: the byte holds a value. Bit 4: the word is part of an mbarrier object. */
  readonly state: Uint8Array;
}

export interface Region {
  readonly name: string;
  readonly kind: "global" | "shared" | "local" | "param";
  /** Offsets below this are not for the program. */
  readonly low: number;
  readonly size: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly writable: boolean;
  /** The simulated device that holds it. */
  readonly device: number;
  shadow: Shadow | undefined;
  /** Whether the bytes had values from the start. */
  readonly initialised: boolean;
}

export interface RegionOptions {
  readonly name: string;
  readonly kind: Region["kind"];
  readonly size: number;
  readonly low?: number;
  readonly writable?: boolean;
  readonly initialised?: boolean;
  readonly device?: number;
}

/** Memory is filled with a pattern that reads as NaN in every float type, so that a stray read shows in the result. */
const poison = 0xff;

export function makeRegion(options: RegionOptions): Region {
  const buffer = new ArrayBuffer(Math.ceil(options.size / 16) * 16);
  const u8 = new Uint8Array(buffer);
  const initialised = options.initialised ?? false;
  if (!initialised) u8.fill(poison);
  return {
    name: options.name,
    kind: options.kind,
    low: options.low ?? 0,
    size: options.size,
    u8,
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    writable: options.writable ?? true,
    device: options.device ?? 0,
    shadow: undefined,
    initialised,
  };
}

export const stateInitialised = 0x0f;
export const stateBarrier = 0x10;

export function shadowOf(region: Region): Shadow {
  region.shadow ??= makeShadow(region);
  return region.shadow;
}

function makeShadow(region: Region): Shadow {
  const words = Math.ceil(region.size / 4);
  const state = new Uint8Array(words);
  if (region.initialised) state.fill(stateInitialised);
  return {
    write: new Int32Array(words),
    read: new Int32Array(words),
    otherRead: new Int32Array(words),
    writeMask: new Uint8Array(words),
    readMask: new Uint8Array(words),
    otherReadMask: new Uint8Array(words),
    state,
  };
}

/** Host writes: the bytes hold values now. */
export function markInitialised(region: Region, offset: number, bytes: number): void {
  if (region.initialised) return;
  const { state } = shadowOf(region);
  const end = offset + bytes;
  for (let at = offset; at < end;) {
    const word = at >> 2;
    if ((at & 3) === 0 && at + 4 <= end) {
      state[word] = state[word]! | stateInitialised;
      at += 4;
    } else {
      state[word] = state[word]! | (1 << (at & 3));
      at++;
    }
  }
}
