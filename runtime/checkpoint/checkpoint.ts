/**
 * A model's folder as it is published: `config.json` and its tensors, in one `model.safetensors` or in several files
 * that `model.safetensors.index.json` lists. Tensors are read one by one, when asked for.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { SafetensorsOnDisk } from "../safetensors/file.ts";
import { openSafetensorsFile } from "../safetensors/file.ts";
import { SafetensorsError } from "../safetensors/header.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export interface Checkpoint {
  /** What `config.json` holds. */
  readonly config: Fields;
  has(name: string): boolean;
  /** Throws `SafetensorsError` where there is no such tensor. */
  read(name: string): Promise<HostTensor>;
  close(): Promise<void>;
}

/** The members of a JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

const wholeFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** Opens a folder; its files are opened when a tensor of theirs is read. The caller closes it. Throws `SafetensorsError`. */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const config = await readFields(join(folder, "config.json"));
  const fileOf = existsSync(join(folder, indexFile))
    ? await readIndex(join(folder, indexFile))
    : await namesIn(join(folder, wholeFile));
  const open = new Map<string, Promise<SafetensorsOnDisk>>();
  const opened = (file: string): Promise<SafetensorsOnDisk> => {
    const known = open.get(file) ?? openSafetensorsFile(join(folder, file));
    open.set(file, known);
    return known;
  };
  return {
    config,
    has: (name) => fileOf.has(name),
    async read(name) {
      const file = fileOf.get(name);
      if (file === undefined) throw new SafetensorsError(`${folder} has no tensor ${JSON.stringify(name)}`);
      return (await opened(file)).read(name);
    },
    async close() {
      const settled = await Promise.allSettled(open.values());
      for (const one of settled) if (one.status === "fulfilled") await one.value.close();
    },
  };
}

/** The file that each tensor is in. Files lie beside the index: a name with a path in it is refused. */
async function readIndex(path: string): Promise<ReadonlyMap<string, string>> {
  const map = fieldsOf((await readFields(path))["weight_map"]);
  if (map === undefined) throw new SafetensorsError(`${path} has no weight_map`);
  return new Map(
    Object.entries(map).map(([name, file]) => {
      if (typeof file !== "string" || file === "" || basename(file) !== file || file.includes("\\"))
        throw new SafetensorsError(`${path} gives ${JSON.stringify(name)} no file beside it`);
      return [name, file];
    }),
  );
}

async function namesIn(path: string): Promise<ReadonlyMap<string, string>> {
  const file = await openSafetensorsFile(path);
  try {
    return new Map([...file.tensors.keys()].map((name) => [name, basename(path)]));
  } finally {
    await file.close();
  }
}

async function readFields(path: string): Promise<Fields> {
  const text = await readFile(path, "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SafetensorsError(`${path} is not JSON: ${error instanceof Error ? error.message : ""}`);
  }
  const fields = fieldsOf(value);
  if (fields === undefined) throw new SafetensorsError(`${path} is not a JSON object`);
  return fields;
}

/** Undefined for what is no object. */
export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : undefined;
}
