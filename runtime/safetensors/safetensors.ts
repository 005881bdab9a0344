/** Safetensors in and out, over any source of bytes; tensors are read one by one, when asked for. */
import { dtypes } from "../../compiler/types/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { tensorOf } from "../tensor/tensor.ts";
import type { SafetensorsEntry, SafetensorsHeader } from "./header.ts";
import { SafetensorsError, headerLength, maxHeaderBytes, parseHeader } from "./header.ts";

/** Bytes that are read by range: a file, a `Blob`, memory. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface SafetensorsFile extends SafetensorsHeader {
  /** The tensor of that name. Throws `SafetensorsError` when there is none, or its stored type is not one of the language. */
  read(name: string): Promise<HostTensor>;
}

/** Reads and checks the header. Throws `SafetensorsError`. */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const start = await source.read(0, Math.min(8, source.size));
  const length = headerLength(start, source.size);
  const header = parseHeader(await source.read(8, length), source.size);
  return {
    ...header,
    async read(name: string): Promise<HostTensor> {
      const entry = header.tensors.get(name);
      if (entry === undefined) throw new SafetensorsError(`the file has no tensor ${JSON.stringify(name)}`);
      return tensorOfEntry(entry, await source.read(entry.begin, entry.end - entry.begin));
    },
  };
}

function tensorOfEntry(entry: SafetensorsEntry, bytes: Uint8Array): HostTensor {
  const { name, dtype, storedType } = entry;
  if (dtype === undefined) {
    throw new SafetensorsError(
      `tensor ${JSON.stringify(name)} is stored as ${storedType}, which is no dtype here`,
    );
  }
  if (dtype === "bool" && bytes.some((value) => value > 1)) {
    throw new SafetensorsError(`tensor ${JSON.stringify(name)} is BOOL and has bytes other than 0 and 1`);
  }
  return tensorOf(dtype, entry.shape, bytes);
}

/** A source over bytes in memory. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset: number, length: number): Promise<Uint8Array> =>
      Promise.resolve(bytes.slice(offset, offset + length)),
  };
}

/** A source over a `Blob` or a `File` of a page. */
export function blobSource(blob: Blob): ByteSource {
  return {
    size: blob.size,
    read: async (offset: number, length: number): Promise<Uint8Array> =>
      new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
}

/**
 * A whole file as parts to be written one after the other. Wider elements come first, then by name, so that
 * every tensor is aligned and equal tensors give equal bytes.
 */
export function safetensorsParts(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: ReadonlyMap<string, string>,
): readonly Uint8Array[] {
  const ordered = [...tensors].sort(
    ([a, x], [b, y]) => dtypes[y.dtype].bytes - dtypes[x.dtype].bytes || (a < b ? -1 : Number(a > b)),
  );
  const fields: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].map(([key, text]) => `${JSON.stringify(key)}:${JSON.stringify(text)}`);
    fields.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  let at = 0;
  for (const [name, { dtype, shape, bytes }] of ordered) {
    if (name === "__metadata__") throw new SafetensorsError("a tensor cannot be named __metadata__");
    const end = at + bytes.length;
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${dtypes[dtype].safetensors}","shape":[${shape.join(",")}],"data_offsets":[${at},${end}]}`,
    );
    at = end;
  }
  return [headerBytes(`{${fields.join(",")}}`), ...ordered.map(([, tensor]) => tensor.bytes)];
}

/** A whole file in memory. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Uint8Array {
  const parts = safetensorsParts(tensors, metadata);
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function headerBytes(json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / 8) * 8;
  if (length > maxHeaderBytes)
    throw new SafetensorsError(`the header would have ${length} bytes, more than ${maxHeaderBytes}`);
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}
