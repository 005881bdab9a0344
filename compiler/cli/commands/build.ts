/** `weft build`: kernels and `plan.json` into a folder. */
import { resolve } from "node:path";
import type { Argv } from "yargs";
import { exitCode } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { planSummary } from "../plan-summary.ts";
import { writeFolder } from "../write-folder.ts";
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

export const buildCommand: Command = {
  name: "build <program>",
  summary: "Compile a function to kernels and a plan that launches them",
  options: (argv: Argv): Argv =>
    compileOptions(argv)
      .option("target", targetOption)
      .option("out", {
        alias: "o",
        type: "string",
        describe: "folder to write; without it nothing is written",
      })
      .option("schedules", {
        type: "boolean",
        describe: "print the schedules that were chosen, as a source may hold them",
      })
      .option("json", { type: "boolean", describe: "print the plan as JSON" })
      .conflicts("schedules", "json")
      .example("$0 build attention.dsl:attend --target wgsl -o out", "dims stay dynamic")
      .example("$0 build mla.dsl:Mla.forward --dims B=2,S=128,W=bf16 -o out", ""),
  run: build,
};

async function build(session: Session, args: Arguments): Promise<ExitCode> {
  const target = await targetOf(args);
  const { compiled, failed } = await compileProgram(session, args, compileArguments(args), target);
  const { artifact } = compiled;
  if (failed || artifact === undefined) return exitCode.failed;
  const { printPlan } = await import("../../plan/build-plan.ts");
  const plan = printPlan(artifact.plan);
  const folder = textOf(args, "out");
  if (folder !== undefined) {
    const path = resolve(session.terminal.cwd, folder);
    await writeFolder(path, new Map([...artifact.files, ["plan.json", plan]]), "plan.json");
  }
  if (flagOf(args, "schedules")) {
    const printed = compiled.trace.find(({ pass }) => pass === "schedule");
    session.terminal.out(printed?.text() ?? "");
    return exitCode.ok;
  }
  session.terminal.out(flagOf(args, "json") ? plan : planSummary(artifact.plan));
  return exitCode.ok;
}
