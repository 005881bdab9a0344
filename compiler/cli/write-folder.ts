/** Outputs on disk, all or nothing: written under passing names, then renamed. */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CommandError, exitCode } from "./exit-code.ts";

/** Replaces one file, or leaves it as it was. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const passing = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.part`);
  try {
    await writeFile(passing, text, { flag: "wx" });
    await rename(passing, path);
  } catch (error) {
    await rm(passing, { force: true });
    throw writeError(path, error);
  }
}

/**
 * Puts files into a folder, made where it is not there. All are written before the first gets its name; `last` gets
 * its own after all others, so that whoever finds it finds them.
 */
export async function writeFolder(
  folder: string,
  files: ReadonlyMap<string, string>,
  last: string,
): Promise<void> {
  try {
    await makeFolder(folder);
    await writeFiles(folder, files, last);
  } catch (error) {
    throw writeError(folder, error);
  }
}

async function writeFiles(folder: string, files: ReadonlyMap<string, string>, last: string): Promise<void> {
  const staging = join(folder, `.weft-${randomBytes(6).toString("hex")}.part`);
  await mkdir(staging);
  try {
    for (const [name, text] of files) await writeFile(join(staging, name), text, { flag: "wx" });
    const names = [...files.keys()].filter((name) => name !== last);
    for (const name of [...names, last]) await rename(join(staging, name), join(folder, name));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** `mkdir` with its parents. Node's own `recursive` never ends where a parent is there and refuses with ENOENT, as /proc does. */
async function makeFolder(path: string): Promise<void> {
  if (existsSync(path)) return;
  if (dirname(path) !== path) await makeFolder(dirname(path));
  await mkdir(path).catch((error: unknown) => {
    if (!existsSync(path)) throw error;
  });
}

/** What stood in the way of writing `path`, in the system's words, without the passing names that these have. */
export function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !("errno" in error)) return error;
  const reason = error.message.split(", ")[0] ?? "";
  return new CommandError(exitCode.failed, `${path} cannot be written: ${reason}`);
}
