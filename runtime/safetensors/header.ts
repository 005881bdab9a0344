/**
 * The header of a safetensors file: eight bytes of length, JSON, then the tensors' bytes without hole or overlap.
 * A file comes from anywhere, so that everything it claims is checked before a byte of a tensor is read, with
 * arithmetic that cannot wrap. Format: https://github.com/huggingface/safetensors#format.
 */
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes, isDType } from "../../compiler/types/dtype.ts";
import type { Json } from "./json.ts";
import { JsonError, parseJson } from "./json.ts";

/** What is wrong with a safetensors file, in words for its user. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
}

export interface SafetensorsEntry {
  readonly name: string;
  /** As the file writes it: `BF16`. */
  readonly storedType: string;
  /** Undefined for a stored type that the language lacks, such as F64. */
  readonly dtype: DType | undefined;
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** By name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

export const maxHeaderBytes = 100_000_000;
const maxTensors = 200_000;
const maxRank = 64;
/** Enough for `maxTensors` entries of seven values beside their shapes. */
const limits = { depth: 3, values: 4_000_000, members: maxTensors + 1 };

/** Bytes of an element of each stored type, those that the language cannot read included: they are checked all the same. */
const storedBytes: ReadonlyMap<string, number> = new Map([
  ...Object.values(dtypes).map((row): [string, number] => [row.safetensors, row.bytes]),
  ["F64", 8],
  ["U64", 8],
  ["I16", 2],
  ["U16", 2],
  ["F8_E8M0", 1],
  ["C64", 8],
]);

const dtypeOfStored: ReadonlyMap<string, DType> = new Map(
  Object.entries(dtypes).flatMap(([name, row]): [string, DType][] =>
    isDType(name) ? [[row.safetensors, name]] : [],
  ),
);

/** Length of the JSON, from the file's first eight bytes. */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (start.length < 8)
    throw new SafetensorsError(`the file has ${fileBytes} bytes, fewer than the 8 of a header's length`);
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    throw new SafetensorsError(`the header claims ${length} bytes, more than the ${maxHeaderBytes} allowed`);
  }
  if (length > BigInt(fileBytes - 8)) {
    throw new SafetensorsError(`the header claims ${length} bytes, and the file has ${fileBytes}`);
  }
  return Number(length);
}

/** Checks the JSON of a header against the size of its file. Throws `SafetensorsError`. */
export function parseHeader(json: Uint8Array, fileBytes: number): SafetensorsHeader {
  const root = jsonOf(json);
  if (!isObject(root)) throw new SafetensorsError("the header is not a JSON object");
  if (root.size - (root.has("__metadata__") ? 1 : 0) > maxTensors) {
    throw new SafetensorsError(`the header has more than ${maxTensors} tensors`);
  }
  const dataStart = 8 + json.length;
  const entries: SafetensorsEntry[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of root) {
    if (name === "__metadata__") metadata = metadataOf(value);
    else entries.push(entryOf(name, value, dataStart, fileBytes));
    if (entries.length > maxTensors)
      throw new SafetensorsError(`the header has more than ${maxTensors} tensors`);
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCover(entries, dataStart, fileBytes);
  return { tensors: new Map(entries.map((entry) => [entry.name, entry])), metadata };
}

function jsonOf(bytes: Uint8Array): Json {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), limits);
  } catch (error) {
    if (error instanceof JsonError) throw new SafetensorsError(`the header ${error.message}`);
    if (error instanceof TypeError) throw new SafetensorsError("the header is not UTF-8");
    throw error;
  }
}

function metadataOf(value: Json): ReadonlyMap<string, string> {
  if (!isObject(value)) throw new SafetensorsError("__metadata__ is not an object");
  const metadata = new Map<string, string>();
  for (const [key, text] of value) {
    if (typeof text !== "string")
      throw new SafetensorsError(`__metadata__ has a value that is not a string: ${quote(key)}`);
    metadata.set(key, text);
  }
  return metadata;
}

function entryOf(name: string, value: Json, dataStart: number, fileBytes: number): SafetensorsEntry {
  const fail = (what: string): never => {
    throw new SafetensorsError(`tensor ${quote(name)} ${what}`);
  };
  if (!isObject(value)) return fail("is not an object");
  for (const key of value.keys()) {
    if (key !== "dtype" && key !== "shape" && key !== "data_offsets")
      return fail(`has the unknown field ${quote(key)}`);
  }
  const storedType = value.get("dtype");
  const shape = countsOf(value.get("shape")) ?? fail("has a shape that is not a list of counts");
  const [begin, end, ...more] =
    countsOf(value.get("data_offsets")) ?? fail("has offsets that are not two counts");
  if (begin === undefined || end === undefined || more.length > 0)
    return fail("has offsets that are not two counts");
  if (typeof storedType !== "string") return fail("has no dtype");
  const elementBytes = storedBytes.get(storedType) ?? fail(`has the unknown dtype ${quote(storedType)}`);
  if (shape.length > maxRank) return fail(`has ${shape.length} axes, more than ${maxRank}`);
  if (begin > end || end > fileBytes - dataStart) {
    return fail(`lies at bytes ${begin} to ${end} of ${fileBytes - dataStart}`);
  }
  const bytes = shape.reduce((product, extent) => product * BigInt(extent), BigInt(elementBytes));
  if (bytes !== BigInt(end - begin)) {
    return fail(`is ${storedType}[${shape.join(", ")}], ${bytes} bytes, and has ${end - begin}`);
  }
  return {
    name,
    storedType,
    dtype: dtypeOfStored.get(storedType),
    shape,
    begin: dataStart + begin,
    end: dataStart + end,
  };
}

/** In order of their starts the tensors' bytes must follow each other to the end of the file. */
function checkCover(entries: readonly SafetensorsEntry[], dataStart: number, fileBytes: number): void {
  let at = dataStart;
  for (const entry of entries) {
    if (entry.begin < at)
      throw new SafetensorsError(`tensor ${quote(entry.name)} overlaps the one before it`);
    if (entry.begin > at) {
      throw new SafetensorsError(
        `${entry.begin - at} bytes before tensor ${quote(entry.name)} belong to no tensor`,
      );
    }
    at = entry.end;
  }
  if (at < fileBytes) throw new SafetensorsError(`the last ${fileBytes - at} bytes belong to no tensor`);
}

function isObject(value: Json): value is ReadonlyMap<string, Json> {
  return value instanceof Map;
}

function countsOf(value: Json | undefined): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items: readonly unknown[] = value;
  return items.every(
    (item): item is number => typeof item === "number" && Number.isSafeInteger(item) && item >= 0,
  )
    ? items
    : undefined;
}

/** A name from a file, cut short and without control characters. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}...` : name);
}
