/** The proof that a schedule does its work and ends, or the reason why it does not. */
import { type Diagnostic, InternalError, type Label } from "../diagnostics/diagnostic.ts";
import { pipelineDeadlock, pipelineOrder, pipelineSizes } from "../diagnostics/pipeline.ts";
import { type Channels, channelsOf } from "./channels.ts";
import { miscount, placeOf } from "./counts.ts";
import { execute, type Execution, type Stuck } from "./execute.ts";
import { type Memory, memoryOf } from "./memory.ts";
import { actionAt, describeEntry, type Schedule } from "./schedule.ts";
import { updatesOf } from "./weights.ts";

export interface ProofOptions {
  /** What each queue between two ranks holds, from 1 on; the number of micro-batches where it is not given. */
  readonly buffers?: number;
}

export type Proof = Proved | Refused;

export interface Proved {
  readonly verdict: "proved";
  readonly buffers: number;
  readonly memory: Memory;
  readonly channels: Channels;
  /**
   * By `rank * lanes + lane`: the entry that completes the gradient of a stage's weights. They are updated after it at
   * the earliest, and no F, B or I of the stage comes later, so that all of the step read one version (`weights.ts`).
   */
  readonly updates: Int32Array;
}

export interface Refused {
  readonly verdict: "refused";
  readonly buffers: number;
  readonly diagnostic: Diagnostic;
  /** By rank: the first entry that it cannot perform. */
  readonly reached: Int32Array;
  readonly stuck: readonly Stuck[];
  /** The ranks' entries that wait for one another, in order; empty where the reason is none of waiting. */
  readonly cycle: readonly number[];
}

export function prove(s: Schedule, options: ProofOptions = {}): Proof {
  const buffers = options.buffers ?? s.micro;
  if (!Number.isSafeInteger(buffers) || buffers < 1) {
    const diagnostic = pipelineSizes(s.place, `queues of ${buffers}: this is a whole number from 1 on`);
    return {
      verdict: "refused",
      buffers,
      diagnostic,
      reached: s.start.slice(0, s.ranks),
      stuck: [],
      cycle: [],
    };
  }
  const channels = channelsOf(s);
  const wrong = miscount(s);
  const execution = execute(s, channels, buffers);
  if (wrong !== undefined) return { verdict: "refused", buffers, diagnostic: wrong, ...execution, cycle: [] };
  if (execution.stuck.length > 0) return deadlock(s, buffers, execution);
  return {
    verdict: "proved",
    buffers,
    memory: memoryOf(s, channels, buffers),
    channels,
    updates: updatesOf(s),
  };
}

/** Follows who waits for whom until a rank comes up again, or one that waits for what never comes. */
function deadlock(s: Schedule, buffers: number, execution: Execution): Refused {
  const byRank = new Map(execution.stuck.map((each) => [each.rank, each]));
  const order = execution.stuck.find(({ wait }) => wait.kind === "order");
  const path: Stuck[] = [];
  for (let at = order ?? execution.stuck[0]; at !== undefined && !path.includes(at);) {
    path.push(at);
    at = at.wait.by === undefined || at.wait.kind === "order" ? undefined : byRank.get(at.wait.rank);
  }
  const last = path.at(-1);
  const next = last === undefined ? undefined : byRank.get(last.wait.rank);
  const cycle = next === undefined || last?.wait.kind === "order" ? [] : path.slice(path.indexOf(next));
  const [first] = cycle.length > 0 ? cycle : path.slice(-1);
  const diagnostic =
    first === undefined ? undefined : explain(s, first, cycle, execution.stuck.length, buffers);
  if (diagnostic === undefined) throw new InternalError("a schedule that stops has a rank that waits");
  return { verdict: "refused", buffers, diagnostic, ...execution, cycle: cycle.map(({ entry }) => entry) };
}

const shown = 6;

function explain(
  s: Schedule,
  first: Stuck,
  cycle: readonly Stuck[],
  stuck: number,
  buffers: number,
): Diagnostic {
  const place = placeOf(s, first.entry);
  const action = describeEntry(s, first.entry);
  if (first.wait.kind === "order") {
    const label: Label = {
      place: placeOf(s, first.wait.by),
      text: `rank ${first.wait.rank} sends ${describeEntry(s, first.wait.by)} first`,
    };
    return pipelineOrder(
      place,
      `rank ${first.rank} takes ${action} out of a queue whose next chunk is another`,
      [label],
    );
  }
  const others = cycle.slice(0, shown).map(({ entry, rank, wait }): Label => ({
    place: placeOf(s, entry),
    text: `rank ${rank} waits at ${describeEntry(s, entry)} ${reason(s, rank, entry, wait)}`,
  }));
  const more = cycle.length > shown ? `; and ${cycle.length - shown} more ranks are in the cycle` : "";
  const message = `with ${s.ranks} ranks and ${s.micro} micro-batches this deadlocks: rank ${first.rank} waits at ${action} ${reason(s, first.rank, first.entry, first.wait)}${more}`;
  const isFull = cycle.some(({ wait }) => wait.kind === "room");
  const help = isFull
    ? `a queue between two ranks holds ${buffers}; more buffers may do, or receive earlier`
    : `${stuck === s.ranks ? "no rank" : `of ${s.ranks} ranks only ${s.ranks - stuck}`} can finish; what is waited for has to come earlier`;
  return pipelineDeadlock(place, message, others.length > 1 ? others.slice(1) : [], help);
}

function reason(s: Schedule, rank: number, entry: number, wait: Stuck["wait"]): string {
  const by = wait.by === undefined ? undefined : describeEntry(s, wait.by);
  const phase = wait.by === undefined ? "" : ` of phase '${s.sites[s.site[wait.by] ?? 0]?.phase ?? ""}'`;
  const { stage } = actionAt(s, entry, rank);
  switch (wait.kind) {
    case "own":
      return by === undefined
        ? `of stage ${stage} for work that its own rank never does`
        : `for ${by}${phase}, which comes later on the same rank`;
    case "message":
      return by === undefined
        ? `for a chunk that rank ${wait.rank} never sends`
        : `for ${by}${phase} on rank ${wait.rank}`;
    case "room":
      return by === undefined
        ? `to send to rank ${wait.rank}, which takes no more`
        : `to send to rank ${wait.rank}, whose queue is full until its ${by}`;
    case "order":
      return `for its turn`;
  }
}
