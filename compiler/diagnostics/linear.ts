/** WF205x: what is used exactly once, or in order: routing plans and state. */
import { error } from "./build.ts";
import type { Diagnostic, Place } from "./diagnostic.ts";

export function planUnused(place: Place, name: string): Diagnostic {
  return error(
    "WF2050",
    place,
    `the routing plan '${name}' is never used, so the rows are never brought back`,
    { help: `use it once: combine(y, ${name}, weight)` },
  );
}

export function planUsedTwice(place: Place, name: string, first: Place): Diagnostic {
  return error("WF2051", place, `the routing plan '${name}' is used twice`, {
    more: [{ place: first, text: "first used here" }],
    help: "each row is brought back once: dispatch again for a second use",
  });
}

export function planRepeated(place: Place, name: string): Diagnostic {
  return error(
    "WF2052",
    place,
    `the routing plan '${name}' is used inside 'for' or a reduction, so more than once`,
    { help: "use it outside" },
  );
}

export function stateNotMut(place: Place, name: string): Diagnostic {
  return error("WF2053", place, `'${name}' is changed, and is not 'mut' here`, {
    help: `write 'mut ${name}' in the signature`,
  });
}

export function stateRepeated(place: Place, name: string): Diagnostic {
  return error("WF2054", place, `'${name}' is changed inside an expression, so its order is not clear`, {
    help: "change state in a line of its own: kv.append(x)",
  });
}

export function stateAliased(place: Place, name: string): Diagnostic {
  return error("WF2055", place, `'${name}' is given twice to one call that changes it`);
}

export function stateValue(place: Place, name: string): Diagnostic {
  return error("WF2056", place, `'${name}' is state and cannot be kept as a value`, {
    help: `use ${name}.read(), or give it to a function`,
  });
}
