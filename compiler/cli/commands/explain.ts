/** `weft explain`: the page of a diagnostic's code, or what became of each pair of neighbours in a program. */
import type { Argv } from "yargs";
import { exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { table } from "../table.ts";
import type { Arguments, Command, Session } from "./command.ts";
import {
  compileArguments,
  compileOptions,
  compileProgram,
  flagOf,
  targetOf,
  targetOption,
  textOf,
} from "./command.ts";

export const explainCommand: Command = {
  name: "explain [program]",
  summary: "Explain how a program's loops were fused, or a diagnostic's code; without one, list the codes",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .positional("program", { type: "string", describe: "FILE.dsl:fn, or a code such as WF2012" })
      .option("target", targetOption)
      .option("json", { type: "boolean", describe: "as JSON" })
      .example("$0 explain softmax.dsl:softmax --dims N=4096", "fused how, or apart why, and the bytes")
      .example("$0 explain WF2012", ""),
  run: explain,
};

async function explain(session: Session, args: Arguments): Promise<ExitCode> {
  const subject = textOf(args, "program");
  if (subject?.includes(".dsl") === true) return explainProgram(session, args, subject);
  const { terminal } = session;
  const api = await session.compiler();
  const code = subject?.toUpperCase();
  const isJson = flagOf(args, "json");
  if (code === undefined) {
    const rows = api.codes.map((row) => [row.code, row.title]);
    terminal.out(isJson ? JSON.stringify(api.codes, undefined, 2) : table(["code", "says"], rows).join("\n"));
    return exitCode.ok;
  }
  const page = api.explain(code);
  if (page === undefined) throw usageError(`${code} is no code of weft's; weft explain lists them`);
  terminal.out(isJson ? JSON.stringify({ code, page }, undefined, 2) : page);
  return exitCode.ok;
}

async function explainProgram(session: Session, args: Arguments, program: string): Promise<ExitCode> {
  const target = await targetOf(args);
  const request = { ...compileArguments(args), explain: true };
  const { compiled, failed } = await compileProgram(session, args, request, target);
  const { fusion } = compiled;
  if (failed || fusion === undefined) return exitCode.failed;
  const { explanationJson, explanationText } = await import("../explain-report.ts");
  session.terminal.out(
    flagOf(args, "json")
      ? JSON.stringify(explanationJson(program, { ...compiled, fusion }), undefined, 2)
      : explanationText(program, { ...compiled, fusion }),
  );
  return exitCode.ok;
}
