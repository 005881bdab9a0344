/** The compiler as the command line asks for it: `compiler/index.ts`, its diagnostics as text, and their pages. */
import { syntaxErrors } from "../../grammar/index.ts";
import { check, compile, format, pages, render, toJson, toSarif, version } from "../index.ts";
import type { Checked, CompilerApi, DiagnosticFormat } from "./api.ts";

export function compilerApi(): CompilerApi {
  const all = Object.entries({ ...syntaxErrors, ...pages }).sort(([a], [b]) => (a < b ? -1 : 1));
  const byCode = new Map(all);
  return {
    version,
    check,
    compile,
    format,
    render: renderAs,
    explain(code: string): string | undefined {
      const page = byCode.get(code);
      return page === undefined ? undefined : `${code}: ${page.title}\n\n${page.page}`;
    },
    codes: all.map(([code, { title }]) => ({ code, title })),
  };
}

function renderAs({ diagnostics, sources }: Checked, as: DiagnosticFormat, color: boolean): string {
  switch (as) {
    case "text":
      return render(diagnostics, { colour: color, sources });
    case "json":
      return JSON.stringify(toJson(diagnostics, sources), undefined, 2);
    case "sarif":
      return JSON.stringify(toSarif(diagnostics, sources, { version }), undefined, 2);
  }
}
