/** Outputs on disk, all or nothing: written under passing names, then renamed. */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Replaces one file, or leaves it as it was. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const passing = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.part`);
  try {
    await writeFile(passing, text, { flag: "wx" });
    await rename(passing, path);
  } catch (error) {
    await rm(passing, { force: true });
    throw error;
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
  await mkdir(folder, { recursive: true });
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
