/** `weft devices`: what can run kernels here, and why the rest cannot. */
import type { Argv } from "yargs";
import { exitCode } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf } from "./command.ts";
import { table } from "../table.ts";

export const devicesCommand: Command = {
  name: "devices",
  summary: "List the devices of this machine, and why others are not there",
  options: (argv: Argv): Argv =>
    argv.option("json", { type: "boolean", describe: "as JSON" }).example("$0 devices", ""),
  run: list,
};

async function list(session: Session, args: Arguments): Promise<ExitCode> {
  const { terminal } = session;
  terminal.progress("looking for devices ..");
  const { devices } = await import("../../../runtime/index.ts");
  const found = await devices();
  const reference = {
    name: "reference",
    present: true,
    text: "the tensor interpreter: f64 arithmetic, rounding where types are written",
    accelerated: false,
  };
  const simulator = {
    name: "simulate",
    present: true,
    text: "PTX on the CPU: races, deadlocks and misuse are findings",
    accelerated: false,
  };
  const all = [...found, simulator, reference];
  const rows = all.map(({ name, present, text }) => [name, present ? "yes" : "no", text]);
  terminal.out(
    flagOf(args, "json") ? JSON.stringify(all, undefined, 2) : table(["device", "here", ""], rows).join("\n"),
  );
  return exitCode.ok;
}
