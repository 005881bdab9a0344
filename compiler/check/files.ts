/**
 * A program's files: the one given and what it imports. The host reads; which paths may be asked for is decided
 * here: relative ones inside the project, and `std.name`.
 */
import type { ImportDecl, SourceFile } from "../../grammar/ast.ts";
import { parse } from "../../grammar/index.ts";
import { syntaxDiagnostic } from "./syntax.ts";
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import { fileNotFound, importCycle, importEscapes, tooManyFiles } from "../diagnostics/names.ts";
import { placeOf } from "./scope.ts";

/** Gives the text of a file, or undefined where there is none that may be read. */
export interface SourceHost {
  /**
   * `path` is normalised, with `/` between its parts: relative to where `from` (the importing file's name) is
   * relative to, or `stdlib/name.dsl` for a library module.
   */
  read(path: string, from: string): { readonly file: string; readonly text: string } | undefined;
}

export interface ProgramFile {
  readonly file: string;
  readonly text: string;
  readonly ast: SourceFile;
  /** The file that each import reads, undefined where there is none. */
  readonly imports: ReadonlyMap<ImportDecl, ProgramFile | undefined>;
}

export const maxFiles = 256;

interface Loading {
  readonly host: SourceHost;
  readonly report: Report;
  readonly files: Map<string, ProgramFile | "loading">;
  readonly stack: string[];
  full: boolean;
}

/** Imported files come before the files that import them. */
export function loadProgram(
  file: string,
  text: string,
  host: SourceHost,
  report: Report,
): { readonly main: ProgramFile; readonly files: readonly ProgramFile[] } {
  const loading: Loading = { host, report, files: new Map(), stack: [], full: false };
  const main = load(loading, file, text);
  return { main, files: [...loading.files.values()].filter((f) => f !== "loading") };
}

function load(loading: Loading, file: string, text: string): ProgramFile {
  loading.files.set(file, "loading");
  loading.stack.push(file);
  const parsed = parse(text);
  for (const mistake of parsed.errors) loading.report.add(syntaxDiagnostic(file, mistake));
  const imports = new Map<ImportDecl, ProgramFile | undefined>();
  for (const decl of parsed.file.declarations)
    if (decl.kind === "import") imports.set(decl, loadImport(loading, file, decl));
  loading.stack.pop();
  const loaded: ProgramFile = { file, text, ast: parsed.file, imports };
  // Inserted anew, so that the order of the map is the order in which files were completed.
  loading.files.delete(file);
  loading.files.set(file, loaded);
  return loaded;
}

function loadImport(loading: Loading, from: string, decl: ImportDecl): ProgramFile | undefined {
  const place = placeOf({ file: from }, decl.path?.span ?? decl.module?.[0]?.span ?? decl.span);
  const shown = decl.path?.text ?? decl.module?.map(({ text }) => text).join(".") ?? "";
  const path = decl.path === undefined ? libraryPath(decl) : resolvePath(from, decl.path.text);
  if (path === "outside") loading.report.add(importEscapes(place, shown));
  if (path === undefined) loading.report.add(fileNotFound(place, shown));
  if (path === undefined || path === "outside" || loading.full) return undefined;
  const known = loading.files.get(path);
  if (known !== undefined) return completed(loading, known, path, place);
  const found = loading.host.read(path, from);
  if (found === undefined) {
    loading.report.add(fileNotFound(place, shown));
    return undefined;
  }
  const before = loading.files.get(found.file);
  if (before !== undefined) return completed(loading, before, found.file, place);
  if (loading.files.size >= maxFiles) {
    loading.full = true;
    loading.report.add(tooManyFiles(place, maxFiles));
    return undefined;
  }
  return load(loading, found.file, found.text);
}

function completed(
  loading: Loading,
  file: ProgramFile | "loading",
  name: string,
  place: Place,
): ProgramFile | undefined {
  if (file !== "loading") return file;
  loading.report.add(importCycle(place, [...loading.stack.slice(loading.stack.indexOf(name)), name]));
  return undefined;
}

function libraryPath(decl: ImportDecl): string | undefined {
  const [root, ...rest] = decl.module?.map(({ text }) => text) ?? [];
  return root === "std" && rest.length > 0 ? `stdlib/${rest.join("/")}.dsl` : undefined;
}

/** The path as the host knows it, or "outside" for one that leaves the project. */
export function resolvePath(from: string, path: string): string | "outside" {
  if (
    /^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(path) ||
    /^[/\\]/.test(path) ||
    path.includes("\\") ||
    path.includes("\0") ||
    path.includes("%")
  )
    return "outside";
  const absolute = from.startsWith("/");
  const parts = from.split("/").slice(absolute ? 1 : 0, -1);
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length === 0 || parts.at(-1) === "..") return "outside";
    else parts.pop();
  }
  return (absolute ? "/" : "") + parts.join("/");
}
