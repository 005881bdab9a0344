/** A pipeline's proof, bubble and memory as plain data: what `weft pipeline --json` prints, and an executor follows. */
import { type Bubble, bubbleFormula } from "./bubble-formula.ts";
import { printFormula } from "./bubble.ts";
import { type Channels, queueOf } from "./channels.ts";
import type { Pipeline } from "./compile.ts";
import type { SimulationOptions } from "./costs.ts";
import { describeGenerality, type Generality, generalize } from "./induction.ts";
import { describeEntry, actionAt, isJoined, type KindName, type Schedule } from "./schedule.ts";
import type { Proof, Proved } from "./prove.ts";
import { simulate, type Simulation } from "./simulate.ts";

export interface PlainAction {
  readonly kind: KindName | "overlap";
  /** Of a pair: the first's. */
  readonly direction: string;
  readonly stage: number;
  readonly micro: number;
  readonly of?: readonly [PlainAction, PlainAction];
}

/** A rank's actions in order, each W with what it resolves to. */
export function actionsOf(s: Schedule, rank: number): readonly PlainAction[] {
  const actions: PlainAction[] = [];
  const end = s.start[rank + 1] ?? 0;
  for (let e = s.start[rank] ?? 0; e < end; e++) {
    const first = actionAt(s, e, rank);
    if (!isJoined(s, e)) actions.push(first);
    else actions.push({ ...first, kind: "overlap", of: [first, actionAt(s, ++e, rank)] });
  }
  return actions;
}

/** An action with its messages: the ranks that it receives from before it and sends to after it. */
export interface Instruction {
  /** One action, or the two of an overlapped pair. */
  readonly actions: readonly PlainAction[];
  readonly receives: readonly Message[];
  readonly sends: readonly Message[];
  /** Stages whose weight gradients are complete after it: their weights may be updated. */
  readonly updates: readonly { readonly direction: string; readonly stage: number }[];
}

export interface Message {
  readonly rank: number;
  /** The queue: messages of one queue are received in the order in which they are sent. */
  readonly queue: number;
  readonly kind: "activation" | "gradient";
  readonly direction: string;
  readonly micro: number;
}

/** What an executor of one rank follows, in order. */
export function instructionsOf(
  s: Schedule,
  { channels, updates }: Proved,
  rank: number,
): readonly Instruction[] {
  const instructions: Instruction[] = [];
  const end = s.start[rank + 1] ?? 0;
  for (let e = s.start[rank] ?? 0; e < end; e++) {
    const entries = isJoined(s, e) ? [e, ++e] : [e];
    instructions.push({
      actions: entries.map((entry) => actionAt(s, entry, rank)),
      receives: entries.flatMap((entry) => message(s, channels, channels.inbound, rank, entry)),
      sends: entries.flatMap((entry) => message(s, channels, channels.outbound, rank, entry)),
      updates: entries
        .filter((entry) => updates[rank * s.lanes + (s.lane[entry] ?? 0)] === entry)
        .map((entry) => {
          const { direction, stage } = actionAt(s, entry, rank);
          return { direction, stage };
        }),
    });
  }
  return instructions;
}

function message(
  s: Schedule,
  channels: Channels,
  queues: Int32Array,
  rank: number,
  entry: number,
): readonly Message[] {
  const queue = queueOf(s, queues, rank, entry);
  if (queue < 0) return [];
  const { kind, direction, micro } = actionAt(s, entry, rank);
  const other = (queues === channels.inbound ? channels.from : channels.to)[queue] ?? 0;
  return [{ rank: other, queue, kind: kind === "F" ? "activation" : "gradient", direction, micro }];
}

export interface Study {
  readonly simulation: Simulation;
  readonly bubble: Bubble;
  readonly generality: Generality;
}

/** All that is to say of a pipeline that is proved. */
export function studyOf(pipeline: Pipeline, proof: Proved, options: SimulationOptions): Study {
  const { schedule } = pipeline;
  const plain = simulate(
    schedule,
    options.costs === undefined ? {} : { costs: options.costs },
    proof.channels,
  );
  const { jitter, stageCosts, link, pieces, buffers } = options;
  const isPlain = [jitter, stageCosts, pieces, buffers, ...Object.values(link ?? {})].every(
    (each) => each === undefined,
  );
  return {
    simulation: isPlain ? plain : simulate(schedule, { ...options, buffers: proof.buffers }, proof.channels),
    bubble: bubbleFormula(plain, proof.channels),
    generality: generalize(pipeline, buffers === undefined ? {} : { buffers }),
  };
}

/** Why the weights that a micro-batch's F and B read are the same. */
export const oneVersion: string =
  "one version: a stage's weights are updated once, after the last of its weight gradients, and each F, B and I of the stage comes before that";

export function toPlain(pipeline: Pipeline, proof: Proof, study: Study | undefined): object {
  const { schedule: s } = pipeline;
  const ranks = Array.from({ length: s.ranks }, (_, rank) => ({ rank, actions: actionsOf(s, rank) }));
  if (proof.verdict === "refused" || study === undefined) {
    if (proof.verdict === "proved")
      return { name: s.name, ranks, proof: { verdict: "proved" }, bubble: null, memory: proof.memory };
    return { name: s.name, ranks, proof: refusal(s, proof), bubble: null, memory: null };
  }
  const { bubble, simulation, generality } = study;
  return {
    name: s.name,
    ranks,
    proof: {
      verdict: "proved",
      ranks: s.ranks,
      micro: s.micro,
      buffers: proof.buffers,
      weights: oneVersion,
      generality: { ...generality, text: describeGenerality(generality, s.name) },
    },
    bubble: {
      formula: printFormula(bubble.formula),
      coefficients: bubble.formula,
      time: bubble.time,
      isExact: bubble.isExact,
      usual: { formula: printFormula(bubble.usual), time: bubble.usualTime },
      longestIdle: simulation.longestIdle,
      idle: [...simulation.idle],
      makespan: simulation.makespan,
    },
    memory: proof.memory,
  };
}

function refusal(s: Schedule, proof: Extract<Proof, { verdict: "refused" }>): object {
  return {
    verdict: "refused",
    buffers: proof.buffers,
    code: proof.diagnostic.code,
    message: proof.diagnostic.message,
    reached: [...proof.reached].map((entry, rank) => entry - (s.start[rank] ?? 0)),
    waits: proof.stuck.map(({ rank, entry, wait }) => ({
      rank,
      action: actionAt(s, entry, rank),
      for: wait.kind,
      of: wait.by === undefined ? null : { rank: wait.rank, action: actionAt(s, wait.by) },
    })),
    cycle: proof.cycle.map((entry) => describeEntry(s, entry)),
  };
}
