#!/usr/bin/env node
/** `weft`: what the package's `bin` runs. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CompilerApi } from "./api.ts";
import { runCli } from "./cli.ts";
import { terminalOf } from "./terminal.ts";

const terminal = terminalOf({ out: process.stdout, err: process.stderr }, process.env, process.cwd());
const loadCompiler = async (): Promise<CompilerApi> => (await import("./compiler.ts")).compilerApi(version());
// A pipe that closes early, as `| head` does, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await runCli(process.argv.slice(2), terminal, loadCompiler, version());

/** The package's, whether this file is a source or built. */
function version(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      const content: unknown = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (typeof content === "object" && content !== null && "version" in content)
        return String(content.version);
    } catch (error) {
      if (dirname(folder) === folder) throw error;
    }
  }
}
