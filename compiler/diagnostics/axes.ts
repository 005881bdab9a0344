/** WF201x, WF203x: axes, indices and sizes. Types come as printed text. */
import { count, error } from "./build.ts";
import type { Diagnostic, Label, Place } from "./diagnostic.ts";

export function axisMismatch(
  place: Place,
  data: {
    found: string;
    wanted: string;
    detail?: string;
    help?: string | undefined;
    more?: readonly Label[];
  },
): Diagnostic {
  return error("WF2012", place, `axis '${data.found}' used where '${data.wanted}' is expected`, {
    ...(data.detail === undefined ? {} : { label: data.detail }),
    ...(data.more === undefined ? {} : { more: data.more }),
    help: data.help,
  });
}

/** A variable that runs over one axis indexes another. */
export function indexAxisMismatch(
  place: Place,
  data: {
    variable: string;
    over: string;
    axis: string;
    tensor: string;
    type: string;
    inScope: string | undefined;
  },
): Diagnostic {
  const help =
    data.inScope === undefined
      ? `rename the axis to make them one: ${data.tensor}[${data.axis} as ${data.over}], or index with a variable over ${data.axis}`
      : `use '${data.inScope}', which ranges over ${data.axis}`;
  return axisMismatch(place, {
    found: data.over,
    wanted: data.axis,
    detail: `'${data.variable}' ranges over ${data.over}; ${data.tensor} is ${data.type}`,
    help,
  });
}

export function axisCount(
  place: Place,
  data: { what: string; type: string; wanted: number; found: number },
): Diagnostic {
  return error(
    "WF2013",
    place,
    `${data.what} has ${count(data.wanted, "axis", "axes")} and is indexed with ${data.found}`,
    {
      label: `it is ${data.type}`,
      help: "give one index for each axis; '...' stands for the leading axes of a generic function",
    },
  );
}

export function rangeUnknown(place: Place, name: string): Diagnostic {
  return error("WF2014", place, `I cannot tell what '${name}' ranges over`, {
    help: `it indexes no axis alone, so give its range: ${name} in N`,
  });
}

export function indexOutside(
  place: Place,
  data: { index: string; axis: string; range: string | undefined; never: boolean },
): Diagnostic {
  const message = data.never
    ? `index '${data.index}' is outside the axis '${data.axis}'`
    : `I cannot prove that '${data.index}' stays inside the axis '${data.axis}'`;
  return error("WF2015", place, message, {
    ...(data.range === undefined ? {} : { label: data.range }),
    help: "say what a read outside gives: x[..] else 0.0",
  });
}

export function inexactQuotient(place: Place, left: string, right: string): Diagnostic {
  return error("WF2016", place, `${left} / ${right} needs ${left} % ${right} == 0, which is not known`, {
    help: `say so: where ${left} % ${right} == 0`,
  });
}

export function reshape(
  place: Place,
  data: { from: string; to: string; reason: string; help?: string | undefined },
): Diagnostic {
  return error("WF2017", place, `[${data.from}] cannot be seen as [${data.to}]: ${data.reason}`, {
    help: data.help ?? "'as' splits an axis into neighbours, or merges neighbours into one",
  });
}

export function unfixedDim(place: Place, dim: string, callee: string): Diagnostic {
  return error(
    "WF2019",
    place,
    `no argument of '${callee}' fixes the size ${dim}, and there is no ${dim} here`,
    { help: `name it: ${callee}[${dim}](..), or declare dim ${dim}` },
  );
}

export function falseClaim(place: Place, data: { claim: string; why: string; label?: Label }): Diagnostic {
  return error(
    "WF2020",
    place,
    `${data.claim} does not hold: ${data.why}`,
    data.label === undefined ? {} : { more: [data.label] },
  );
}

export function axisTwice(place: Place, axis: string, type: string): Diagnostic {
  return error("WF2029", place, `${type} has the axis '${axis}' twice, so the name does not say which`, {
    help: "index it: for i, j: x[i, j]",
  });
}

export function noSuchAxis(place: Place, axis: string, type: string): Diagnostic {
  return error("WF2030", place, `there is no axis '${axis}' in ${type}`);
}

export function badIndex(place: Place, found: string, help: string | undefined): Diagnostic {
  return error("WF2031", place, `an index is one integer, and this is ${found}`, { help });
}

export function sizeError(place: Place, message: string): Diagnostic {
  return error("WF2033", place, message, { help: "a size is a whole number below 2^53" });
}

export function notASize(place: Place, text: string): Diagnostic {
  return error("WF2034", place, `${text} is not a size`, {
    help: "a size is made of dims, whole numbers and + - * / %",
  });
}

export function packMisplaced(place: Place, message: string): Diagnostic {
  return error("WF2035", place, message, {
    help: "'...' stands first, in the types of a generic function and in its for and index lists",
  });
}

export function blockScale(place: Place, message: string): Diagnostic {
  return error("WF2036", place, message, {
    help: "block scales stand on f8 types, over the last axes: e4m3[N, K] @ (128, 128)",
  });
}

export function raggedMismatch(place: Place, message: string, help: string | undefined): Diagnostic {
  return error("WF2037", place, message, { help });
}
