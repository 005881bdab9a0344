/** Runs `weft` in this process, with a compiler of three programs, and keeps what it says. */
import type { Diagnostic } from "../../compiler/diagnostics/diagnostic.ts";
import type { CompileRequest, CompilerApi } from "../../compiler/cli/api.ts";
import { runCli } from "../../compiler/cli/cli.ts";
import { terminalOf } from "../../compiler/cli/terminal.ts";
import { Arena } from "../../compiler/tensor/arena.ts";
import { parse } from "../../compiler/tensor/parse.ts";
import { jsTexts, scalePlan } from "../runtime/scale-plan.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly note: string;
}

export interface Circumstances {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly isTerminal?: boolean;
}

export async function weft(args: readonly string[], given: Circumstances = {}): Promise<Ran> {
  const [out, note]: [string[], string[]] = [[], []];
  const stream = (into: string[]): { isTTY: boolean; write(text: string): void } => ({
    isTTY: given.isTerminal ?? false,
    write: (text) => void into.push(text),
  });
  const terminal = terminalOf(
    { out: stream(out), err: stream(note) },
    given.env ?? {},
    given.cwd ?? process.cwd(),
  );
  const code = await runCli(args, terminal, () => Promise.resolve(fakeCompiler), "9.9.9");
  return { code, out: out.join(""), note: note.join("") };
}

const graphText = `graph scale
dims N
%x = input argument "x": f32[N, 4]
%y = loop b in N, c in 4 {
  yield f32[b, c]: mul(add(mul(%x[b, c], 3.0), 1.0), 2.0)
}
result "out" = %y
`;

/** A text that holds "wrong" has an error there, one that holds "warn" a warning, "bug" is a mistake of the compiler's. */
export const fakeCompiler: CompilerApi = {
  version: "9.9.9",
  check({ source }) {
    const diagnostics: Diagnostic[] = [];
    for (const [word, severity] of [
      ["wrong", "error"],
      ["warn", "warning"],
    ] as const) {
      const start = source.text.indexOf(word);
      if (start < 0) continue;
      const place = { file: source.file, start, end: start + word.length };
      diagnostics.push({
        code: "WF2012",
        severity,
        message: `this is ${word}`,
        labels: [{ place, text: "" }],
        help: undefined,
      });
    }
    if (source.text.includes("bug")) throw new TypeError("undefined is not a function");
    return { program: undefined, diagnostics, sources: new Map([[source.file, source.text]]) };
  },
  compile(request: CompileRequest) {
    const checked = this.check(request);
    const none = { contractions: [], derived: [], schedules: [], tiles: [] };
    const rest = { program: undefined, fused: undefined, fusion: undefined, ...none };
    if (checked.diagnostics.some(({ severity }) => severity === "error")) {
      return { ...checked, ...rest, graph: undefined, artifact: undefined, trace: [] };
    }
    const arena = new Arena();
    const rows = request.dims.get("N");
    const bound =
      rows === undefined ? graphText : graphText.replace("dims N\n", "").replaceAll("N", String(rows));
    const graph = parse(arena, bound);
    const off = request.source.text.includes("inexact");
    const texts = off
      ? { ...jsTexts, double: jsTexts.double.replace("source[i] * factor", "source[i] * 2.0001") }
      : jsTexts;
    const artifact =
      request.target === undefined ? undefined : scalePlan({ ...texts, target: request.target });
    return {
      ...checked,
      ...rest,
      graph: { arena, graph },
      artifact,
      trace: [{ pass: "fuse", text: () => "graph fused" }],
    };
  },
  format(source) {
    const checked = this.check({ source, host: { read: () => undefined } });
    return { ...checked, text: checked.diagnostics.length > 0 ? undefined : `${source.text.trim()}\n` };
  },
  render({ diagnostics }, format, color) {
    const lines = diagnostics.map(
      ({ code, message, labels: [{ place }] }) => `${place.file}: ${code}: ${message}`,
    );
    return format === "text"
      ? lines.map((line) => (color ? `\u001b[31m${line}\u001b[0m` : line)).join("\n")
      : JSON.stringify({ format, lines });
  },
  explain: (code) => (code === "WF2012" ? "# WF2012\nAxes differ." : undefined),
  codes: [{ code: "WF2012", title: "axes differ" }],
};
