/** `weft fmt`: the one layout, in place or only checked. */
import type { Argv } from "yargs";
import { exitCode } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { openSource } from "../source-host.ts";
import { writeWhole } from "../write-folder.ts";
import { resolve } from "node:path";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf, showDiagnostics, textsOf } from "./command.ts";

export const fmtCommand: Command = {
  name: "fmt <files..>",
  summary: "Format programs in place",
  options: (argv: Argv): Argv =>
    argv
      .positional("files", { type: "string", array: true, describe: "FILE.dsl .." })
      .option("check", {
        type: "boolean",
        describe: "write nothing; name the files that would change, and fail",
      })
      .option("stdout", { type: "boolean", describe: "print the formatted text instead" })
      .option("json", { type: "boolean", describe: "for each file whether it changes, as JSON" })
      .conflicts("check", "stdout")
      .conflicts("json", "stdout")
      .example("$0 fmt model.dsl", "")
      .example("$0 fmt --check src/*.dsl", "in CI"),
  run: format,
};

async function format(session: Session, args: Arguments): Promise<ExitCode> {
  const { terminal } = session;
  const api = await session.compiler();
  let code: ExitCode = exitCode.ok;
  const found: { readonly file: string; readonly parses: boolean; readonly changes: boolean }[] = [];
  for (const file of textsOf(args, "files")) {
    const { source } = openSource(file, terminal.cwd);
    const formatted = api.format(source);
    showDiagnostics(session, api, formatted, "text");
    const parses = formatted.text !== undefined;
    found.push({ file, parses, changes: parses && formatted.text !== source.text });
    if (formatted.text === undefined) {
      code = exitCode.failed;
    } else if (flagOf(args, "stdout")) {
      terminal.out(formatted.text);
    } else if (formatted.text !== source.text) {
      if (!flagOf(args, "json")) terminal.out(file);
      if (flagOf(args, "check")) code = exitCode.failed;
      else await writeWhole(resolve(terminal.cwd, file), formatted.text);
    }
  }
  if (flagOf(args, "json")) terminal.out(JSON.stringify(found, undefined, 2));
  return code;
}
