/** The checker's API. */
export { checkProgram, type ProgramSource } from "./program.ts";
export type { SourceHost } from "./files.ts";
