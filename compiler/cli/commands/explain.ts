/** `weft explain`: the page of a diagnostic's code. */
import type { Argv } from "yargs";
import { exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { table } from "../table.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf, textOf } from "./command.ts";

export const explainCommand: Command = {
  name: "explain [code]",
  summary: "Explain a diagnostic's code; without one, list them",
  options: (argv: Argv): Argv =>
    argv
      .positional("code", { type: "string", describe: "such as WF2012" })
      .option("json", { type: "boolean", describe: "as JSON" })
      .example("$0 explain WF2012", ""),
  run: explain,
};

async function explain(session: Session, args: Arguments): Promise<ExitCode> {
  const { terminal } = session;
  const api = await session.compiler();
  const code = textOf(args, "code")?.toUpperCase();
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
