/** What lowering says: sizes that cannot be, and what the language has and the tensor level cannot hold yet. */
import type { Diagnostic, Place } from "./diagnostic.ts";

function error(
  code: Diagnostic["code"],
  place: Place,
  message: string,
  label: string,
  help: string | undefined,
): Diagnostic {
  return { code, severity: "error", message, labels: [{ place, text: label }], help };
}

/** WF2701: the sizes that were given contradict what the program claims. */
export function claimFails(claim: string, relation: string, place: Place): Diagnostic {
  return error(
    "WF2701",
    place,
    `${claim}, and with the sizes given ${relation} is false`,
    "claimed here",
    "give sizes for which it holds",
  );
}

/** WF2702: an entry's dtype parameter was not given. */
export function unboundType(fn: string, name: string, bound: string, place: Place): Diagnostic {
  return error(
    "WF2702",
    place,
    `'${fn}' is generic over the type '${name}' (${bound}), and nothing says which it is`,
    "this function is compiled by itself",
    `bind it: --dims ${name}=bf16`,
  );
}

/** WF2703: a dtype parameter was given what its bound excludes. */
export function wrongType(name: string, bound: string, given: string, place: Place): Diagnostic {
  return error(
    "WF2703",
    place,
    `'${name}' is a ${bound} type, and ${given} is none`,
    "declared here",
    undefined,
  );
}

/** WF2704: an entry with `...` in its signature has no definite axes yet, or not these. */
export function openEntry(fn: string, why: string, help: string, place: Place): Diagnostic {
  return error(
    "WF2704",
    place,
    `'${fn}' takes any leading axes (...), and ${why}`,
    "its signature says ...",
    help,
  );
}

/** WF2705: ragged rows that cannot cross the border of what is compiled. */
export function raggedEntry(fn: string, name: string, place: Place): Diagnostic {
  return error(
    "WF2705",
    place,
    `'${name}' of '${fn}' has ragged rows that cannot cross the border of what is compiled by itself`,
    "a ragged tensor here",
    "what crosses it is a parameter or a result [.., E, R[E], ..] without block scales, its rows behind their experts",
  );
}

/** WF2706: a `for` over `R[e]` inside another expression that fixes e. */
export function raggedInLoop(place: Place): Diagnostic {
  return error(
    "WF2706",
    place,
    "a 'for' over the rows of one expert, with the experts outside it, cannot be built yet",
    "the rows' axis stands here without its expert's",
    "range over both in one 'for', or reduce over the rows",
  );
}

/** WF2707: an opaque value in a signature that is compiled by itself. */
export function opaqueEntry(fn: string, name: string, what: string, place: Place): Diagnostic {
  return error(
    "WF2707",
    place,
    `'${name}' of '${fn}' is ${what}, which cannot cross the border of a compiled function`,
    "here",
    undefined,
  );
}

/** WF2708: two inputs of one entry have one name. */
export function sameName(name: string, place: Place): Diagnostic {
  return error(
    "WF2708",
    place,
    `two inputs of this function are called '${name}'`,
    "the second of them",
    "rename one of them",
  );
}

/** WF2709: a size that does not fit. */
export function badSize(problem: string, place: Place): Diagnostic {
  return error(
    "WF2709",
    place,
    `a size cannot be computed: ${problem}`,
    "while compiling this",
    "give smaller sizes",
  );
}

/** WF2711: a loop that has more axes than there is room for. */
export function tooManyAxes(count: number, most: number, place: Place): Diagnostic {
  return error(
    "WF2711",
    place,
    `a loop of ${count} axes is made here, those that it reduces over included; I take ${most} at most`,
    "computed in one loop",
    "merge axes: x as [A * B, C]",
  );
}

/** WF2710: a block-scaled type where whole blocks cannot be told apart. */
export function scalingLost(place: Place): Diagnostic {
  return error(
    "WF2710",
    place,
    "a block-scaled tensor cannot be returned after its axes were cut or joined",
    "its blocks no longer lie whole",
    "return it as it was quantized, or dequantize it first",
  );
}

/** WF3701: a reassociation that the algebra does not allow. */
export function cannotReassociate(
  factor: string,
  where: "into" | "after",
  target: string,
  why: string,
  place: Place,
): Diagnostic {
  return error(
    "WF3701",
    place,
    `'${factor}' cannot be moved ${where} '${target}': ${why}`,
    "this step does not apply",
    undefined,
  );
}

/** WF3702: a contraction that `numerics` would have scaled by block, where the bound that it declares does not hold. */
export function boundNotHeld(place: Place, why: string): Diagnostic {
  return {
    code: "WF3702",
    severity: "warning",
    message: `the factors of this contraction are not scaled by block: ${why}`,
    labels: [{ place, text: "computed with the program's own types" }],
    help: "a longer sum, shorter runs ('accumulate: f32 every 128') or a wider bound would allow it",
  };
}
