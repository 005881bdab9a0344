/** WF6: what is asked of a target or an entry point. */
import { either, error } from "./build.ts";
import type { Diagnostic, Place } from "./diagnostic.ts";
import { didYouMean } from "./near.ts";

function fileStart(file: string): Place {
  return { file, start: 0, end: 0 };
}

export function unknownTarget(name: string, known: readonly string[], file: string): Diagnostic {
  return error("WF6010", fileStart(file), `there is no target '${name}'`, {
    help: `targets are ${either(known)}`,
  });
}

export function unknownEntry(name: string, known: readonly string[], file: string): Diagnostic {
  const help =
    didYouMean(name, known) ??
    (known.length === 0 ? "the file has no functions" : `the file has ${either(known)}`);
  return error("WF6011", fileStart(file), `${file} has no function '${name}'`, { help });
}

export function ambiguousEntry(name: string, paths: readonly string[], file: string): Diagnostic {
  return error("WF6012", fileStart(file), `several modules have a function '${name}'`, {
    help: `say which: ${either(paths)}`,
  });
}

export function tooLargeForTarget(name: string, target: string, place: Place): Diagnostic {
  return error(
    "WF6013",
    place,
    `'${name}' has more than 2^31 - 1 elements, which ${target} has no indices for`,
    {
      help: "compile for ptx or cuda, or cut the tensor",
    },
  );
}
