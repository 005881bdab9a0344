/** Safetensors files on disk, for Node: read by range, written whole or not at all. */
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import type { HostTensor } from "../tensor/tensor.ts";
import { SafetensorsError } from "./header.ts";
import type { SafetensorsFile } from "./safetensors.ts";
import { openSafetensors, safetensorsParts } from "./safetensors.ts";

export interface SafetensorsOnDisk extends SafetensorsFile {
  close(): Promise<void>;
}

/** Opens a file and checks its header. The caller closes it. Throws `SafetensorsError`, or the system's own error. */
export async function openSafetensorsFile(path: string): Promise<SafetensorsOnDisk> {
  const file = await open(path, "r");
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new SafetensorsError(`${path} is not a regular file`);
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      const bytes = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await file.read(
          bytes,
          filled,
          Math.min(length - filled, 2 ** 30),
          offset + filled,
        );
        if (bytesRead === 0) throw new SafetensorsError(`${path} became shorter while it was read`);
        filled += bytesRead;
      }
      return bytes;
    };
    const opened = await openSafetensors({ size: stat.size, read });
    return { ...opened, close: (): Promise<void> => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Writes a file under a passing name beside `path`, then renames it: `path` is whole or as it was. */
export async function writeSafetensorsFile(
  path: string,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const parts = safetensorsParts(tensors, metadata);
  const passing = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.part`);
  const file = await open(passing, "wx");
  try {
    try {
      for (const part of parts) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(passing, path);
  } catch (error) {
    await rm(passing, { force: true });
    throw error;
  }
}
