/** WF201x to WF203x about values: types, calls, conditions. Types come as printed text. */
import { count, either, error } from "./build.ts";
import type { Diagnostic, Label, Place } from "./diagnostic.ts";

export function typeMismatch(
  place: Place,
  data: { found: string; wanted: string; what?: string; help?: string | undefined; more?: readonly Label[] },
): Diagnostic {
  return error("WF2011", place, `${data.what ?? "this"} is ${data.found}, and ${data.wanted} is expected`, {
    help: data.help,
    ...(data.more === undefined ? {} : { more: data.more }),
  });
}

export function argumentCount(
  place: Place,
  data: { callee: string; wanted: string; found: number },
): Diagnostic {
  return error("WF2018", place, `'${data.callee}' takes ${data.wanted}, and is given ${data.found}`, {});
}

export function classBound(place: Place, data: { param: string; bound: string; found: string }): Diagnostic {
  const classes: Record<string, readonly string[]> = {
    float: ["f32", "f16", "bf16", "e4m3", "e5m2"],
    int: ["i64", "i32", "u32", "i8", "u8"],
    weight: ["any float", "a block-scaled type"],
  };
  return error("WF2021", place, `'${data.param}: ${data.bound}' cannot be ${data.found}`, {
    help: `${data.bound} is ${either(classes[data.bound] ?? [])}`,
  });
}

export function dtypeConflict(
  place: Place,
  data: { param: string; first: string; second: string },
): Diagnostic {
  return error(
    "WF2021",
    place,
    `'${data.param}' is ${data.first} by one argument and ${data.second} by this one`,
    { help: `cast one of them: ${data.first}(..)` },
  );
}

export function destructureCount(place: Place, names: number, parts: number): Diagnostic {
  return error("WF2038", place, `${count(names, "name", "names")} for ${count(parts, "part", "parts")}`, {
    help: "a record is taken apart into as many names as it has parts, in order",
  });
}

export function badOperator(place: Place, op: string, types: string, help: string | undefined): Diagnostic {
  return error("WF2039", place, `'${op}' has no meaning for ${types}`, { help });
}

export function noResult(place: Place, name: string): Diagnostic {
  return error("WF2044", place, `'${name}' promises a result and its body ends without one`, {
    help: "the last line of a body is its result",
  });
}

export function brackets(place: Place, message: string, help: string): Diagnostic {
  return error("WF2045", place, message, { help });
}
