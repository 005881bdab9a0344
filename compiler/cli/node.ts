/**
 * `weft/node`: programs from disk, for those who embed the compiler in Node.
 *
 *     const { source, host } = openSource("model.dsl", process.cwd());
 *     const compiled = compile({ source, host, entry: "forward", target: "js", dims: new Map(), dtypes: new Map() });
 *
 * Imports are read from the folder that is given (or, for a program outside of it, the program's own), and the
 * standard library from the package.
 */
export type { OpenedSource } from "./source-host.ts";
export { openSource } from "./source-host.ts";
export type { SourceHost } from "../check/files.ts";
