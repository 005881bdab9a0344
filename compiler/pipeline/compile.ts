/** From source text to a schedule: parse, check, evaluate. No I/O: files come from the host. */
import type { PipelineDecl } from "../../grammar/ast.ts";
import { checkProgram, type SourceHost } from "../check/index.ts";
import { createReport, type Diagnostic, type Report } from "../diagnostics/diagnostic.ts";
import { noPipeline } from "../diagnostics/pipeline.ts";
import { allows, evaluate, prepare, type Program, type Sizes } from "./evaluate.ts";
import { prove } from "./prove.ts";
import type { Schedule } from "./schedule.ts";

export interface PipelineRequest {
  readonly source: { readonly file: string; readonly text: string };
  readonly host: SourceHost;
  /** Undefined for the file's last pipeline. */
  readonly name: string | undefined;
  readonly ranks: number;
  readonly micro: number;
}

/** A pipeline for given sizes, and the means to evaluate it for others. */
export interface Pipeline {
  readonly name: string;
  readonly schedule: Schedule;
  /** The schedule for other sizes; undefined where the block does not allow them. */
  readonly at: (sizes: Sizes) => Schedule | undefined;
  readonly program: Program;
}

export interface CompiledPipeline {
  readonly pipeline: Pipeline | undefined;
  readonly diagnostics: readonly Diagnostic[];
  readonly sources: ReadonlyMap<string, string>;
}

export function compilePipeline({ source, host, name, ranks, micro }: PipelineRequest): CompiledPipeline {
  const report = createReport();
  const sources = new Map([[source.file, source.text]]);
  const ended = (pipeline: Pipeline | undefined): CompiledPipeline => ({
    pipeline,
    diagnostics: report.diagnostics,
    sources,
  });
  const program = checkProgram({ ...source, host: remembering(host, sources), report });
  if (program === undefined || report.failed) return ended(undefined);
  const decl =
    name === undefined ? program.pipelines.at(-1) : program.pipelines.find((each) => each.name.text === name);
  if (decl === undefined) {
    report.add(
      noPipeline(
        { file: source.file, start: 0, end: 0 },
        name,
        program.pipelines.map((each) => each.name.text),
      ),
    );
    return ended(undefined);
  }
  const prepared = prepare(source.file, decl, report);
  if (prepared === undefined) return ended(undefined);
  const schedule = evaluate(prepared, { ranks, micro }, report);
  if (schedule === undefined) return ended(undefined);
  return ended({
    name: decl.name.text,
    schedule,
    program: prepared,
    at: (sizes) => (allows(prepared, sizes) ? evaluate(prepared, sizes, createReport()) : undefined),
  });
}

function remembering(host: SourceHost, sources: Map<string, string>): SourceHost {
  return {
    read(path, from) {
      const found = host.read(path, from);
      if (found !== undefined) sources.set(found.file, found.text);
      return found;
    },
  };
}

const mostRanks = 64;
const mostMicro = 1024;

/** The smallest sizes that `where` allows: of ranks first, then of micro-batches. */
export function smallestSizes(program: Program): Sizes | undefined {
  for (let ranks = 1; ranks <= mostRanks; ranks++)
    for (let micro = 1; micro <= mostMicro; micro++)
      if (allows(program, { ranks, micro })) return { ranks, micro };
  return undefined;
}

/**
 * What `weft check` says of a file's pipelines: each is proved for the smallest sizes that it allows, and for the
 * smallest number of micro-batches of each number of ranks up to 8, since with two ranks phases are often empty.
 */
export function checkPipelineProofs(file: string, pipelines: readonly PipelineDecl[], report: Report): void {
  for (const decl of pipelines) {
    const program = prepare(file, decl, report);
    if (program === undefined) continue;
    const smallest = smallestSizes(program);
    if (smallest === undefined) continue;
    for (let ranks = smallest.ranks; ranks <= Math.max(8, smallest.ranks); ranks++) {
      let micro = 1;
      while (micro <= 8 * ranks && !allows(program, { ranks, micro })) micro += 1;
      const sizes = ranks === smallest.ranks ? smallest : { ranks, micro };
      if (!allows(program, sizes)) continue;
      const schedule = evaluate(program, sizes, report);
      const proof = schedule === undefined ? undefined : prove(schedule);
      if (proof?.verdict === "refused") report.add(proof.diagnostic);
      if (proof?.verdict !== "proved") break;
    }
  }
}
