/** Text to a verified graph: parser, checker and lowering together. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkProgram } from "../../compiler/check/index.ts";
import type { TypedFn, TypedProgram } from "../../compiler/check/typed.ts";
import { createReport, type Diagnostic } from "../../compiler/diagnostics/diagnostic.ts";
import { lowered, type Lowered, type Types } from "./oracle.ts";

const root = join(import.meta.dirname, "../..");

export function contract(name: string): string {
  return readFileSync(join(root, "test/contract", `${name}.dsl`), "utf8");
}

const host = {
  read(path: string): { readonly file: string; readonly text: string } | undefined {
    const file = join(root, path);
    return existsSync(file) ? { file: path, text: readFileSync(file, "utf8") } : undefined;
  },
};

export function checked(text: string): {
  readonly program: TypedProgram | undefined;
  readonly diagnostics: readonly Diagnostic[];
} {
  const report = createReport();
  return { program: checkProgram({ file: "test.dsl", text, host, report }), diagnostics: report.diagnostics };
}

const programs = new Map<string, TypedProgram>();

export function programOf(text: string): TypedProgram {
  const known = programs.get(text);
  if (known !== undefined) return known;
  const { program, diagnostics } = checked(text);
  const errors = diagnostics.filter((d) => d.severity === "error").map((d) => `${d.code} ${d.message}`);
  if (program === undefined || errors.length > 0)
    throw new Error(`the program does not check: ${errors.join("; ")}`);
  programs.set(text, program);
  return program;
}

/** `f` or `Module.f`. */
export function entryOf(program: TypedProgram, entry: string): TypedFn {
  const [module, name] = entry.includes(".") ? entry.split(".") : [undefined, entry];
  const fns =
    module === undefined ? program.fns : (program.modules.find((m) => m.name === module)?.fns ?? []);
  const fn = fns.find((f) => f.name === name);
  if (fn === undefined) throw new Error(`no function '${entry}'`);
  return fn;
}

export function compiled(
  text: string,
  entry: string,
  dims: Readonly<Record<string, number>>,
  types?: Types,
  align?: number,
): Lowered {
  const program = programOf(text);
  return lowered(program, entryOf(program, entry), dims, types, align);
}
