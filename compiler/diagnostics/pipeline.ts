/** WF5: what is wrong with a pipeline schedule for given numbers of ranks and micro-batches. */
import { error } from "./build.ts";
import type { Diagnostic, Label, Place } from "./diagnostic.ts";

/** A number, condition or direction that cannot be computed. */
export function pipelineValue(place: Place, message: string, help?: string): Diagnostic {
  return error("WF5003", place, message, { help });
}

export function pipelineStages(place: Place, message: string, help?: string): Diagnostic {
  return error("WF5004", place, message, { help });
}

export function pipelineSizes(place: Place, message: string, help?: string): Diagnostic {
  return error("WF5005", place, message, { help });
}

/** A micro-batch that some stage does not pass, or passes twice. */
export function pipelineCount(place: Place, message: string, help?: string): Diagnostic {
  return error("WF5006", place, message, { help });
}

export function pipelineWeights(place: Place, message: string, help?: string): Diagnostic {
  return error("WF5007", place, message, { help });
}

export function pipelineDeadlock(
  place: Place,
  message: string,
  waits: readonly Label[],
  help?: string,
): Diagnostic {
  return error("WF5008", place, message, { more: waits, help });
}

export function pipelineOrder(place: Place, message: string, more: readonly Label[]): Diagnostic {
  return error("WF5009", place, message, {
    more,
    help: "two ranks send and receive the chunks of one direction in one order",
  });
}

export function pipelineOverlap(place: Place, message: string): Diagnostic {
  return error("WF5010", place, message, { help: "overlap(F(near), B(far))" });
}

export function noPipeline(place: Place, name: string | undefined, known: readonly string[]): Diagnostic {
  const what =
    name === undefined ? "there is no pipeline in this file" : `there is no pipeline '${name}' in this file`;
  return error("WF5011", place, what, {
    help: known.length === 0 ? undefined : `there is ${known.join(", ")}`,
  });
}
