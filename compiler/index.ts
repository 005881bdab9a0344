/**
 * The compiler as a library: source text in, artefacts out, no I/O; it runs in Node, in browsers and in workers.
 *
 *     import { compile, check, format } from "weft";
 *     const { artifact, diagnostics } = compile({
 *       source: { file: "attention.dsl", text }, host, entry: "attend", target: "wgsl",
 *       dims: new Map([["D", 64]]), dtypes: new Map([["A", "f32"]]),
 *     });
 *
 * `artifact.plan` says what to launch and `artifact.files` holds the kernels; `weft/runtime` runs them. Diagnostics are
 * data; `render` makes text of them. Nothing throws for a user's mistake; an `InternalError` is a bug of Weft's.
 */
import { format as formatText } from "../grammar/format.ts";
import type { Checked, Source } from "./compile.ts";
import { syntaxDiagnostic } from "./check/syntax.ts";

export { check, compile } from "./compile.ts";
export type { Checked, CheckRequest, Compiled, CompileRequest, Source, TraceStep } from "./compile.ts";
export type { SourceHost } from "./check/index.ts";
export type { Diagnostic, Label, Place, Severity } from "./diagnostics/diagnostic.ts";
export { InternalError } from "./diagnostics/diagnostic.ts";
export { toJson } from "./diagnostics/json.ts";
export { pages } from "./diagnostics/pages.ts";
export { renderDiagnostics as render } from "./diagnostics/render.ts";
export { toSarif } from "./diagnostics/sarif.ts";
export type { ExplainedPair, ExplainedValue, FusionReport, Outcome } from "./passes/explain.ts";
export type { Apart, Fusion } from "./passes/fuse.ts";
export {
  actionsOf,
  bubbleFormula,
  chromeTrace,
  compilePipeline,
  ganttSvg,
  generalize,
  instructionsOf,
  printFormula,
  prove,
  publishedPieces,
  simulate,
} from "./pipeline/index.ts";
export type {
  Bubble,
  CompiledPipeline,
  Costs,
  Formula,
  Generality,
  Instruction,
  Pieces,
  Pipeline,
  PipelineRequest,
  PlainAction,
  Proof,
  ProofOptions,
  Schedule,
  Simulation,
  SimulationOptions,
} from "./pipeline/index.ts";
export type { Artifact, Plan, PlanKernel, PlanTensor } from "./plan/plan.ts";
export { targetNames } from "./targets/index.ts";
export type { DType, Format } from "./types/dtype.ts";
export { version } from "./version.ts";

/** The source as `weft fmt` writes it; `text` is undefined where it does not parse, and the diagnostics say why. */
export function format(source: Source): Checked & { readonly text: string | undefined } {
  const { text, errors } = formatText(source.text);
  const diagnostics = errors.map((error) => syntaxDiagnostic(source.file, error));
  return {
    text: errors.length === 0 ? text : undefined,
    diagnostics,
    sources: new Map([[source.file, source.text]]),
  };
}
