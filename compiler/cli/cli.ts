/** The command line: parses arguments with yargs, runs a command, and turns what it throws into an exit code. */
import yargs from "yargs";
import type { CompilerApi } from "./api.ts";
import { benchCommand } from "./commands/bench.ts";
import { buildCommand } from "./commands/build.ts";
import { checkCommand } from "./commands/check.ts";
import type { Command, Session } from "./commands/command.ts";
import { devicesCommand } from "./commands/devices.ts";
import { explainCommand } from "./commands/explain.ts";
import { fmtCommand } from "./commands/fmt.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { numericsCommand } from "./commands/numerics.ts";
import { pipelineCommand } from "./commands/pipeline.ts";
import { reportCommand } from "./commands/report.ts";
import { runCommand } from "./commands/run.ts";
import { tuneCommand } from "./commands/tune.ts";
import { CommandError, exitCode } from "./exit-code.ts";
import type { ExitCode } from "./exit-code.ts";
import type { Terminal } from "./terminal.ts";

const commands: readonly Command[] = [
  checkCommand,
  fmtCommand,
  buildCommand,
  runCommand,
  benchCommand,
  tuneCommand,
  inspectCommand,
  numericsCommand,
  pipelineCommand,
  reportCommand,
  explainCommand,
  devicesCommand,
];

const epilogue = `Exit codes: 0 done; 1 the program has errors, or a file or device refuses; 2 the command line is
wrong; 3 a mistake of weft's own; 4 --compare found a difference, or an error
is beyond its worst case.

The project is the current folder: imports do not leave it. NO_COLOR and FORCE_COLOR are obeyed.`;

/** Runs one command line to its exit code; `loadCompiler` is called when a command needs the compiler. */
export async function runCli(
  args: readonly string[],
  terminal: Terminal,
  loadCompiler: () => Promise<CompilerApi>,
  version: string,
): Promise<ExitCode> {
  const session: Session = { terminal, compiler: loadCompiler };
  let code: ExitCode = exitCode.ok;
  const parser = yargs()
    .scriptName("weft")
    .usage("$0 COMMAND\n\nCompiles tensor models to GPU kernels, and runs them.")
    .version(version)
    .help()
    .alias("h", "help")
    .strict()
    .demandCommand(1, "weft needs a command; see weft --help")
    .recommendCommands()
    .wrap(100)
    .epilogue(epilogue)
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new CommandError(exitCode.usage, plainMessage(message, args));
    });
  for (const { name, summary, options, run } of commands) {
    parser.command(name, summary, options, async (argv) => {
      code = await run(session, argv);
    });
  }
  try {
    await parser.parseAsync([...args], {}, (_error, _argv, output) => {
      if (output !== "") terminal.out(output);
    });
    return code;
  } catch (error) {
    return reportFailure(terminal, error);
  } finally {
    terminal.progress("");
  }
}

/** What yargs finds wrong, where its own words say little. */
function plainMessage(message: string, [first = ""]: readonly string[]): string {
  const command = commands.find(({ name }) => name.split(" ")[0] === first);
  if (command === undefined && message === `Unknown argument: ${first}`)
    return `there is no command '${first}'; see weft --help`;
  if (command !== undefined && message.startsWith("Not enough non-option arguments"))
    return `weft ${command.name}: it is not said which; see weft ${first} --help`;
  return message;
}

/** Errors that are their user's to act on; their messages are whole sentences, and no stack follows. */
const expected: ReadonlySet<string> = new Set([
  "DeviceError",
  "InterpretError",
  "PlanError",
  "SafetensorsError",
  "SizeError",
  "TensorError",
]);

function reportFailure(terminal: Terminal, error: unknown): ExitCode {
  if (error instanceof CommandError) {
    terminal.note(`weft: ${error.message}`);
    return error.code;
  }
  // Compared by name: the modules that throw these are loaded only by the commands that need them.
  if (error instanceof Error && (expected.has(error.name) || isSystemError(error))) {
    terminal.note(`weft: ${error.message}`);
    return exitCode.failed;
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  terminal.note(
    `weft: internal error: ${text}\nThis is a mistake in weft, not in your program: please report it with the program and the command.`,
  );
  return exitCode.internal;
}

/** ENOENT and its kin: no file, no permission, no space. */
function isSystemError(error: Error): boolean {
  return "code" in error && "syscall" in error;
}
