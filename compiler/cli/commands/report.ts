/** `weft report kv`: what the caches of a file's modules keep of a token, as formulas, at configurations, as a picture. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Argv } from "yargs";
import { exitCode, usageError } from "../exit-code.ts";
import type { ExitCode } from "../exit-code.ts";
import { openSource } from "../source-host.ts";
import type { Arguments, Command, Session } from "./command.ts";
import { flagOf, formatOf, showDiagnostics, textOf, textsOf } from "./command.ts";

export const reportCommand: Command = {
  name: "report <subject> <file>",
  summary: "What the caches of a file's modules keep of a token: formulas, and numbers at configurations",
  options: (argv: Argv): Argv =>
    argv
      .positional("subject", { choices: ["kv"], describe: "kv: caches of keys and values" })
      .positional("file", { type: "string", describe: "FILE.dsl" })
      .option("config", {
        type: "string",
        array: true,
        describe: "'NAME: MODULE, SIZE=N, .., layers=N, bits=N'; the first is what others are compared with",
      })
      .option("configs", { type: "string", describe: "a file of such lines; # begins a comment" })
      .option("format", { choices: ["text", "json", "sarif"], default: "text", describe: "of diagnostics" })
      .option("json", { type: "boolean", describe: "the report as JSON" })
      .option("output", { alias: "o", type: "string", describe: "write a bar chart to this file, as SVG" })
      .example("$0 report kv model.dsl", "")
      .example("$0 report kv model.dsl --config 'small: Layer, C=512, layers=24' -o kv.svg", ""),
  run,
};

async function run(session: Session, args: Arguments): Promise<ExitCode> {
  const { terminal } = session;
  const file = textOf(args, "file") ?? "";
  const { cacheJson, cacheReport, cacheText, parseConfiguration } = await import("../kv-report.ts");
  const list = textOf(args, "configs");
  const listed = list === undefined ? [] : await linesOf(resolve(terminal.cwd, list));
  const configurations = [...listed, ...textsOf(args, "config")].map(parseConfiguration);
  const output = textOf(args, "output");
  if (output !== undefined && configurations.length === 0)
    throw usageError("a picture shows configurations: give --config or --configs");
  const api = await session.compiler();
  const checked = api.check(openSource(file, terminal.cwd));
  if (showDiagnostics(session, api, checked, formatOf(args)) || checked.program === undefined)
    return exitCode.failed;
  const report = cacheReport(checked.program, configurations);
  if (output !== undefined) {
    const { cacheSvg } = await import("../kv-picture.ts");
    const { writeWhole } = await import("../write-folder.ts");
    await writeWhole(resolve(terminal.cwd, output), cacheSvg(file, report));
  }
  terminal.out(
    flagOf(args, "json") ? JSON.stringify(cacheJson(report), undefined, 2) : cacheText(file, report),
  );
  return exitCode.ok;
}

async function linesOf(path: string): Promise<readonly string[]> {
  const text = await readFile(path, "utf8");
  return text
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter((line) => line !== "");
}
