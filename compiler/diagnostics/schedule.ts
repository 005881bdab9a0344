/** WF4: `schedule` blocks that no kernel can obey. */
import { error } from "./build.ts";
import type { Diagnostic, Place } from "./diagnostic.ts";

/** `why` says what does not fit, with the numbers; `nearest` is what does. */
export function scheduleRefused(
  place: Place,
  kernel: string,
  why: readonly string[],
  nearest: string | undefined,
): Diagnostic {
  return error("WF4701", place, `'${kernel}' cannot be scheduled so: ${why.join("; ")}`, {
    help: nearest === undefined ? undefined : `the nearest that fits: ${nearest}`,
  });
}

export function scheduleUnused(place: Place, what: string, kernels: readonly string[]): Diagnostic {
  return error("WF4702", place, what, {
    help:
      kernels.length === 0 ? undefined : `there ${kernels.length === 1 ? "is" : "are"} ${kernels.join("; ")}`,
  });
}

export function scheduleTwice(place: Place, target: string, other: Place): Diagnostic {
  return error("WF4703", place, `'${target}' has two schedules for one target`, {
    more: [{ place: other, text: "the other" }],
  });
}
