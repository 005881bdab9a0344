/** WF20xx: names, files and declarations. */
import { error, nameError } from "./build.ts";
import type { Diagnostic, Finding, Place } from "./diagnostic.ts";
import { didYouMean } from "./near.ts";

export function unknownName(place: Place, name: string, known: Iterable<string>): Finding {
  return nameError("WF2001", place, `I do not know the name '${name}'`, () => didYouMean(name, known));
}

export function unknownDim(place: Place, name: string, known: Iterable<string>): Finding {
  return nameError(
    "WF2002",
    place,
    `I do not know the size '${name}'`,
    () => didYouMean(name, known) ?? `declare it: dim ${name}`,
  );
}

export function unknownType(place: Place, name: string, known: Iterable<string>): Finding {
  return nameError("WF2003", place, `I do not know the type '${name}'`, () => didYouMean(name, known));
}

export function declaredTwice(place: Place, name: string, first: Place): Diagnostic {
  return error("WF2004", place, `'${name}' is declared twice`, {
    more: [{ place: first, text: "first declared here" }],
    help: "give one of them another name",
  });
}

export function fileNotFound(place: Place, path: string): Diagnostic {
  return error("WF2006", place, `I cannot find '${path}'`, {
    help: "a path is relative to the file that imports; 'std.name' is the standard library",
  });
}

export function importedNameMissing(
  place: Place,
  name: string,
  from: string,
  known: Iterable<string>,
): Finding {
  return nameError("WF2007", place, `'${from}' declares no '${name}'`, () => didYouMean(name, known));
}

export function importCycle(place: Place, files: readonly string[]): Diagnostic {
  return error("WF2008", place, `these files import one another in a circle: ${files.join(" -> ")}`, {
    help: "move what both need into a third file",
  });
}

export function importEscapes(place: Place, path: string): Diagnostic {
  return error("WF2009", place, `'${path}' is outside the project`, {
    help: 'import a file in the project by a relative path such as "./blocks.dsl"',
  });
}

export function tooManyFiles(place: Place, limit: number): Diagnostic {
  return error("WF2010", place, `this program has more than ${limit} files`, {
    help: "join files, or import less",
  });
}

export function recursion(place: Place, names: readonly string[]): Diagnostic {
  return error("WF2022", place, `these functions call one another in a circle: ${names.join(" -> ")}`, {
    help: "a function is put in place where it is called, so it cannot call itself",
  });
}

export function notAValue(place: Place, name: string, what: string): Diagnostic {
  return error("WF2028", place, `'${name}' is ${what}, not a value`, {
    help: what === "a function" ? `call it: ${name}(..)` : undefined,
  });
}

export function notAFunction(place: Place, name: string, what: string): Diagnostic {
  return error("WF2028", place, `'${name}' is ${what} and cannot be called`, {
    help: what.startsWith("a tensor") ? "index it with brackets" : undefined,
  });
}

export function unknownMember(place: Place, name: string, of: string, known: readonly string[]): Finding {
  return nameError(
    "WF2027",
    place,
    `${of} has no '${name}'`,
    () =>
      didYouMean(name, known) ?? (known.length > 0 ? `it has ${known.slice(0, 8).join(", ")}` : undefined),
  );
}

export function notConstant(place: Place, name: string): Diagnostic {
  return error("WF2040", place, `'${name}' is not known at compile time`, {
    help: "a const is made of numbers, dims, other consts and scalar functions",
  });
}

export function signatureOnly(place: Place, name: string): Diagnostic {
  return error("WF2041", place, `'${name}' has a signature and no body, so it cannot be called`, {
    help: "give it a body: { .. }",
  });
}

export function deriveName(
  place: Place,
  name: string,
  of: string,
  wanted: string,
  known: Iterable<string>,
): Finding {
  return nameError("WF2042", place, `'${of}' has no ${wanted} '${name}'`, () => didYouMean(name, known));
}

export function unknownRewrite(place: Place, name: string): Diagnostic {
  return error("WF2043", place, `I know no rewrite '${name}'`, {
    help: "the rewrite is 'reassociate', or 'cheaper' for it where it takes less work",
  });
}
