/** `weft inspect`: the program in textual form after any pass. */
import type { Argv } from "yargs";
import { exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
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

export const inspectCommand: Command = {
  name: "inspect <program>",
  summary: "Print a program as a pass leaves it",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .option("target", targetOption)
      .option("after", { type: "string", describe: "name of a pass; without it, the passes are listed" })
      .option("json", { type: "boolean", describe: "an array of {pass, text}" })
      .example("$0 inspect softmax.dsl:softmax", "which passes run")
      .example("$0 inspect softmax.dsl:softmax --after fuse", ""),
  run: inspect,
};

async function inspect(session: Session, args: Arguments): Promise<ExitCode> {
  const { terminal } = session;
  const target = await targetOf(args);
  const { compiled, failed } = await compileProgram(session, args, compileArguments(args), target);
  const names = [...new Set(compiled.trace.map(({ pass }) => pass))];
  const after = textOf(args, "after");
  const steps = compiled.trace.filter(({ pass }) => pass === after);
  if (after !== undefined && steps.length === 0) {
    if (failed) return exitCode.failed;
    throw usageError(`--after ${after}: no such pass ran; there are ${names.join(", ")}`);
  }
  if (flagOf(args, "json")) {
    const shown = after === undefined ? compiled.trace : steps;
    terminal.out(
      JSON.stringify(
        shown.map(({ pass, text }) => ({ pass, text: text() })),
        undefined,
        2,
      ),
    );
  } else {
    terminal.out(after === undefined ? names.join("\n") : steps.map(({ text }) => text()).join("\n"));
  }
  return failed ? exitCode.failed : exitCode.ok;
}
