/** A host over the repository's stdlib and a map of other files, for tests. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { SourceHost } from "../../compiler/check/index.ts";
import { checkProgram } from "../../compiler/check/index.ts";
import type { TypedProgram } from "../../compiler/check/typed.ts";
import { createReport, type Diagnostic } from "../../compiler/diagnostics/diagnostic.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

export function testHost(files: Readonly<Record<string, string>> = {}): SourceHost {
  return {
    read(path) {
      const own = Object.hasOwn(files, path) ? files[path] : undefined;
      if (own !== undefined) return { file: path, text: own };
      if (!/^stdlib(?:\/\w+)+\.dsl$/.test(path) || !existsSync(root + path)) return undefined;
      return { file: path, text: readFileSync(root + path, "utf8") };
    },
  };
}

export interface Checked {
  readonly program: TypedProgram | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

export function check(
  text: string,
  files: Readonly<Record<string, string>> = {},
  file = "test.dsl",
): Checked {
  const report = createReport();
  const program = checkProgram({ file, text, host: testHost(files), report });
  return { program, diagnostics: report.diagnostics };
}

export function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
