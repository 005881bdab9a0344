/** Pipeline schedules: compiled from text, proved, simulated, drawn. No I/O. */
export { checkPipelineProofs, compilePipeline, smallestSizes } from "./compile.ts";
export type { CompiledPipeline, Pipeline, PipelineRequest } from "./compile.ts";
export { bubbleFormula, type Bubble } from "./bubble-formula.ts";
export { type Formula, printFormula, timeOf } from "./bubble.ts";
export type { Costs, Link, SimulationOptions } from "./costs.ts";
export { ganttSvg, type GanttOptions } from "./gantt.ts";
export { describeGenerality, generalize, type Generality } from "./induction.ts";
export type { Memory } from "./memory.ts";
export { bestOrder, pieceNames, type PieceName, type Pieces, publishedPieces } from "./pieces.ts";
export { stoppedPicture } from "./picture-text.ts";
export { prove } from "./prove.ts";
export type { Proof, ProofOptions, Proved, Refused } from "./prove.ts";
export {
  actionsOf,
  type Instruction,
  instructionsOf,
  type Message,
  oneVersion,
  type PlainAction,
  type Study,
  studyOf,
  toPlain,
} from "./report.ts";
export type { Action, Direction, KindName, Schedule } from "./schedule.ts";
export { simulate, type Simulation, type Transfer } from "./simulate.ts";
export { stoppedSvg } from "./stopped.ts";
export { chromeTrace } from "./trace.ts";
