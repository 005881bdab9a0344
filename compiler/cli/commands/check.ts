/** `weft check`: diagnostics, and nothing else. */
import type { Argv } from "yargs";
import { exitCode } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { openSource } from "../source-host.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf, formatOf, textsOf } from "./command.ts";

export const checkCommand: Command = {
  name: "check <files..>",
  summary: "Check programs and report what is wrong with them",
  options: (argv: Argv): Argv =>
    argv
      .positional("files", { type: "string", array: true, describe: "FILE.dsl .." })
      .option("format", { choices: ["text", "json", "sarif"], default: "text", describe: "of diagnostics" })
      .option("json", { type: "boolean", describe: "--format json" })
      .example("$0 check model.dsl", "")
      .example("$0 check src/*.dsl --format sarif > weft.sarif", "for a code scanner"),
  run: check,
};

async function check(session: Session, args: Arguments): Promise<ExitCode> {
  const api = await session.compiler();
  const format = flagOf(args, "json") ? "json" : formatOf(args);
  const diagnostics = [];
  const sources = new Map<string, string>();
  for (const file of textsOf(args, "files")) {
    const checked = api.check(openSource(file, session.terminal.cwd));
    // A file that two programs import is reported once.
    const fresh = checked.diagnostics.filter(({ labels: [{ place }] }) => !sources.has(place.file));
    diagnostics.push(...fresh);
    for (const [name, text] of checked.sources) sources.set(name, text);
  }
  const checked = { diagnostics, sources };
  // JSON and SARIF are whole documents, of no diagnostics too.
  if (format !== "text") session.terminal.out(api.render(checked, format, false));
  else if (diagnostics.length > 0)
    session.terminal.note(api.render(checked, format, session.terminal.noteColor));
  return diagnostics.some(({ severity }) => severity === "error") ? exitCode.failed : exitCode.ok;
}
