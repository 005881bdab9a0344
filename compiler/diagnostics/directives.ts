/** WF3, WF4, WF5 and WF6 as far as names go: numerics, schedules, pipelines, and what is not there yet. */
import { either, error } from "./build.ts";
import type { Diagnostic, Place } from "./diagnostic.ts";
import { didYouMean } from "./near.ts";

export function numericsClause(place: Place, message: string, help: string | undefined): Diagnostic {
  return error("WF3001", place, message, { help });
}

export function unknownTarget(
  place: Place,
  code: "WF3002" | "WF4002",
  name: string,
  known: Iterable<string>,
): Diagnostic {
  return error(code, place, `there is no function or module '${name}' in this file`, {
    help: didYouMean(name, known),
  });
}

export function scheduleClause(place: Place, word: string, known: readonly string[]): Diagnostic {
  return error("WF4001", place, `I know no schedule clause '${word}'`, {
    help: didYouMean(word, known) ?? `a clause is ${either(known)}`,
  });
}

export function scheduleItem(place: Place, message: string, help: string | undefined): Diagnostic {
  return error("WF4003", place, message, { help });
}

export function scheduleAxis(place: Place, name: string, of: string, known: readonly string[]): Diagnostic {
  return error("WF4004", place, `'${of}' has no axis '${name}'`, { help: didYouMean(name, known) });
}

export function pipelineAction(place: Place, name: string): Diagnostic {
  return error("WF5001", place, `I know no action '${name}'`, {
    help: "an action is F, B, I or W, with a direction: F(down)",
  });
}

export function pipelineItem(place: Place, message: string, help: string | undefined): Diagnostic {
  return error("WF5002", place, message, { help });
}

export function noGradientYet(place: Place, name: string): Diagnostic {
  return error("WF6001", place, `'${name}' is in the language and this version cannot compile it yet`, {
    help: "write the derivative as a function",
  });
}

export function noKernelYet(place: Place, name: string): Diagnostic {
  return error(
    "WF6002",
    place,
    `the kernel block '${name}' is in the language and this version cannot compile it yet`,
    { help: "the function that it implements compiles without it" },
  );
}

export function noMeshYet(place: Place, what: string): Diagnostic {
  return error("WF6003", place, `${what} is in the language and this version cannot compile it yet`, {
    help: "compile for one device: leave the placement out",
  });
}
