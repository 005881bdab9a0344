/** What a command is: a line of help, its options, and what it does. Heavy modules are imported inside `run`. */
import type { Argv } from "yargs";
import type { Checked, Compiled, CompilerApi, DiagnosticFormat } from "../api.ts";
import type { DimArguments } from "../arguments.ts";
import { parseDims, parseProgram } from "../arguments.ts";
import type { ExitCode } from "../exit-code.ts";
import { usageError } from "../exit-code.ts";
import { checkNames } from "../program-names.ts";
import { openSource } from "../source-host.ts";
import type { Terminal } from "../terminal.ts";

export interface Session {
  readonly terminal: Terminal;
  readonly compiler: () => Promise<CompilerApi>;
}

/** Arguments as yargs hands them over; read through `textOf` and its kin. */
export type Arguments = Readonly<Record<string, unknown>>;

export interface Command {
  /** `check <files..>`. */
  readonly name: string;
  readonly summary: string;
  readonly options: (argv: Argv) => Argv;
  readonly run: (session: Session, args: Arguments) => Promise<ExitCode>;
}

export function textOf(args: Arguments, name: string): string | undefined {
  const value = args[name];
  if (value === undefined) return undefined;
  if (typeof value === "string" && value !== "") return value;
  throw usageError(`--${name} is given ${Array.isArray(value) ? "more than once" : "without a value"}`);
}

export function textsOf(args: Arguments, name: string): readonly string[] {
  const value = args[name];
  const values: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return values.map(String);
}

export function flagOf(args: Arguments, name: string): boolean {
  return args[name] === true;
}

export function formatOf(args: Arguments): DiagnosticFormat {
  const format = textOf(args, "format") ?? "text";
  if (format === "text" || format === "json" || format === "sarif") return format;
  throw usageError(`--format ${format}: choose from text, json, sarif`);
}

/** Options of every command that compiles. */
export function compileOptions(argv: Argv): Argv {
  return argv
    .positional("program", { type: "string", describe: "FILE.dsl, FILE.dsl:fn or FILE.dsl:Module.fn" })
    .option("dims", {
      type: "string",
      array: true,
      describe: "sizes and dtypes: B=2,S=128,W=bf16, block-scaled: W=e4m3@128x128; leading axes: ...=4x128",
    })
    .option("format", { choices: ["text", "json", "sarif"], default: "text", describe: "of diagnostics" });
}

export const targetOption = {
  type: "string",
  default: "ptx",
  describe: "ptx[:sm_90a|sm_80], cuda[:sm_90a|sm_80], wgsl or js; ptx means ptx:sm_90a",
} as const;

/** The target in full: `ptx:sm_90a` for `ptx`. Throws a usage error. */
export async function targetOf(args: Arguments): Promise<string> {
  const text = textOf(args, "target") ?? targetOption.default;
  const { parseTarget, targetNames } = await import("../../targets/index.ts");
  const chosen = parseTarget(text);
  if (chosen === undefined) throw usageError(`--target ${text}: choose from ${targetNames.join(", ")}`);
  return chosen.caps.target;
}

export interface CompileArguments extends DimArguments {
  readonly file: string;
  readonly entry: string | undefined;
  readonly explain?: boolean;
  /** Of the tensors in the input file. */
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
}

export function compileArguments(args: Arguments): CompileArguments {
  const program = textOf(args, "program") ?? "";
  return { ...parseProgram(program), ...parseDims(textsOf(args, "dims")) };
}

/** Compiles and shows the diagnostics; `failed` when one of them is an error. */
export async function compileProgram(
  session: Session,
  args: Arguments,
  program: CompileArguments,
  target: string | undefined,
): Promise<{ readonly compiled: Compiled; readonly failed: boolean }> {
  const { source, host } = openSource(program.file, session.terminal.cwd);
  session.terminal.progress(`compiling ${program.file}${target === undefined ? "" : ` for ${target}`} ..`);
  const api = await session.compiler();
  const compiled = api.compile({
    source,
    host,
    entry: program.entry,
    target,
    dims: program.dims,
    dtypes: program.dtypes,
    pack: program.pack,
    shapes: program.shapes,
    explain: program.explain ?? false,
  });
  session.terminal.progress("");
  const failed = showDiagnostics(session, api, compiled, formatOf(args));
  if (!failed) checkNames(compiled, program);
  return { compiled, failed };
}

/** On the error stream as text, on the output as JSON or SARIF. Returns whether one is an error. */
export function showDiagnostics(
  session: Session,
  api: CompilerApi,
  checked: Checked,
  format: DiagnosticFormat,
): boolean {
  const { terminal } = session;
  const failed = checked.diagnostics.some(({ severity }) => severity === "error");
  if (format !== "text") {
    if (failed || checked.diagnostics.length > 0) terminal.out(api.render(checked, format, false));
  } else if (checked.diagnostics.length > 0) {
    terminal.note(api.render(checked, format, terminal.noteColor));
  }
  return failed;
}
