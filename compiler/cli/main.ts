#!/usr/bin/env node
/** `weft`: what the package's `bin` runs. */
import type { CompilerApi } from "./api.ts";
import { runCli } from "./cli.ts";
import { version } from "../version.ts";
import { terminalOf } from "./terminal.ts";

const terminal = terminalOf({ out: process.stdout, err: process.stderr }, process.env, process.cwd());
const loadCompiler = async (): Promise<CompilerApi> => (await import("./compiler.ts")).compilerApi();
// A pipe that closes early, as `| head` does, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await runCli(process.argv.slice(2), terminal, loadCompiler, version);
