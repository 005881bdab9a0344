/**
 * Source files for the compiler, from disk, and from nowhere outside the project: the current folder, or, for a
 * program that lies elsewhere, its own. Links are followed before a path is judged.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { SourceHost } from "../check/files.ts";
import type { Source } from "./api.ts";
import { CommandError, exitCode } from "./exit-code.ts";

/** Nobody writes 16 MiB of model by hand. */
export const maxSourceBytes: number = 16 * 2 ** 20;

export interface OpenedSource {
  readonly source: Source;
  readonly host: SourceHost;
}

/** Reads the program's own file. Throws `CommandError` where that cannot be. */
export function openSource(path: string, cwd: string): OpenedSource {
  const full = resolve(cwd, path);
  if (!existsSync(full)) throw new CommandError(exitCode.failed, `${path}: there is no such file`);
  const real = realpathSync(full);
  const here = realpathSync(cwd);
  const root = isInside(here, real) ? here : dirname(real);
  const named = isInside(here, real) ? relative(here, real) : real;
  const file = named.split(sep).join("/");
  return { source: { file, text: readSource(real, path) }, host: diskHost(here, root) };
}

function diskHost(cwd: string, root: string): SourceHost {
  return {
    read(path: string): Source | undefined {
      const library = path.startsWith("stdlib/") ? join(dirname(libraryFolder()), path) : undefined;
      if (library !== undefined && isInside(libraryFolder(), library) && existsSync(library)) {
        return { file: path, text: readSource(library, path) };
      }
      const full = resolve(cwd, path);
      // Judged before the disk is asked, so that nobody learns what lies outside; and again once links are followed.
      if (!isInside(root, full) || !existsSync(full)) return undefined;
      const real = realpathSync(full);
      return isInside(root, real) ? { file: path, text: readSource(real, path) } : undefined;
    },
  };
}

function readSource(path: string, name: string): string {
  const refuse = (reason: string): never => {
    throw new CommandError(exitCode.failed, `${name}: ${reason}`);
  };
  const stat = statSync(path);
  if (!stat.isFile()) refuse("this is not a file");
  if (stat.size > maxSourceBytes) refuse(`${stat.size} bytes, and a source may have ${maxSourceBytes}`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    if (error instanceof TypeError) return refuse("this is not UTF-8 text");
    throw error;
  }
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The package's `stdlib`: two folders up from the sources, three from what is built of them. */
export function libraryFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const folders = [resolve(here, "..", "..", "stdlib"), resolve(here, "..", "..", "..", "stdlib")];
  const folder = folders.find((candidate) => existsSync(join(candidate, "nn.dsl")));
  if (folder === undefined)
    throw new CommandError(exitCode.internal, "the standard library is not beside the package");
  return realpathSync(folder);
}
