/** What stands in an argument: `FILE:Module.fn`, `B=2,S=128,W=bf16`. */
import type { Format } from "../types/dtype.ts";
import type { PackAxes } from "../lower/entry-pack.ts";
import type { ScaledType } from "../lower/lower.ts";
import { dtypes, isFormat } from "../types/dtype.ts";
import { usageError } from "./exit-code.ts";

export interface ProgramArgument {
  readonly file: string;
  /** `fn` or `Module.fn`. */
  readonly entry: string | undefined;
}

/** The part after the last colon is the function, where it looks like one (a Windows path has a colon too). */
export function parseProgram(text: string): ProgramArgument {
  const found = /^(.+):([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)$/.exec(text);
  return found === null ? { file: text, entry: undefined } : { file: found[1] ?? "", entry: found[2] };
}

export interface DimArguments {
  readonly dims: ReadonlyMap<string, number>;
  readonly dtypes: ReadonlyMap<string, Format | ScaledType>;
  /** What `...` stands for; undefined where nothing says it. */
  readonly pack: PackAxes | undefined;
}

/** `--dims B=2,S=128,W=bf16,V=e4m3@128x128,...=BxS`, given once or more. Throws a usage error. */
export function parseDims(texts: readonly string[]): DimArguments {
  const dims = new Map<string, number>();
  const bound = new Map<string, Format | ScaledType>();
  let pack: PackAxes | undefined;
  for (const part of texts.flatMap((text) => text.split(",")).map((piece) => piece.trim())) {
    if (part === "") continue;
    const axes = /^\.\.\.\s*=\s*(\S*)$/.exec(part)?.[1];
    if (axes !== undefined) {
      if (pack !== undefined) throw usageError("--dims gives ... twice");
      pack = parsePack(axes);
      continue;
    }
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(\S+)$/.exec(part) ?? [];
    if (name === undefined || value === undefined)
      throw usageError(`--dims takes NAME=VALUE pairs, such as B=2,W=bf16, not '${part}'`);
    if (dims.has(name) || bound.has(name)) throw usageError(`--dims gives ${name} twice`);
    const stored = parseDType(value);
    if (stored !== undefined) bound.set(name, stored);
    else dims.set(name, parseSizeValue(name, value));
  }
  return { dims, dtypes: bound, pack };
}

/** `4x128`, or names of sizes without an x, `BxS`; nothing at all for no axes. */
function parsePack(text: string): PackAxes {
  if (text === "") return [];
  return text.split("x").map((axis) => {
    if (/^[0-9]+$/.test(axis)) return parseSizeValue("...", axis);
    if (/^[A-Z][A-Za-z0-9_]*$/.test(axis)) return axis;
    throw usageError(`--dims ...=${text}: give sizes or names without an x, such as 4x128 or BxS`);
  });
}

/** `bf16`, or block-scaled as `e4m3@128x128` and `e4m3@1x128:ue8m0`. */
function parseDType(value: string): Format | ScaledType | undefined {
  if (isFormat(value)) return value;
  const [, dtype = "", blocks = "", format = "f32"] =
    /^([a-z0-9]+)@([0-9]+(?:x[0-9]+)*)(?::(f32|ue8m0))?$/.exec(value) ?? [];
  if (!isFormat(dtype) || (format !== "f32" && format !== "ue8m0")) return undefined;
  return { dtype, scale: { block: blocks.split("x").map(Number), format } };
}

function parseSizeValue(name: string, value: string): number {
  if (!/^[0-9]+$/.test(value)) {
    throw usageError(
      `--dims: ${name}=${value}: a dim is a positive integer, a dtype one of ${Object.keys(dtypes).join(" ")}`,
    );
  }
  const size = Number(value);
  if (!Number.isSafeInteger(size) || size < 1)
    throw usageError(`--dims: ${name}=${value} is not a size from 1 to 2^53 - 1`);
  return size;
}
