/** The names that a function's signature gives the axes of its tensors, for the plan: `q: [B, S, Hkv, G, D]`. */
import { pagesName } from "./check/paged-names.ts";
import type { Axis, Type, TypedFn, TypedModule } from "./check/typed.ts";
import { printDim } from "./types/dim-text.ts";

/** By the name of the input or result; a tensor whose axes the signature does not name is left out. */
export function axisNames(fn: TypedFn): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, readonly string[]>();
  for (const param of fn.params) note(names, param.name, param.type);
  if (fn.module !== undefined) noteModule(names, "", fn.module);
  if (fn.result.kind === "record") for (const field of fn.result.fields) note(names, field.name, field.type);
  else note(names, "out", fn.result);
  return names;
}

function noteModule(names: Map<string, readonly string[]>, prefix: string, module: TypedModule): void {
  for (const member of [...module.params, ...module.states]) note(names, prefix + member.name, member.type);
}

function note(names: Map<string, readonly string[]>, name: string, type: Type): void {
  switch (type.kind) {
    case "tensor":
      names.set(name, type.axes.map(axisText));
      return;
    case "module":
      noteModule(names, `${name}.`, type.module);
      return;
    case "paged":
      type.parts.forEach(({ width }, k) => {
        const pages = `${name}.${pagesName(k, type.parts.length)}`;
        names.set(pages, ["page", printDim(type.page), printDim(width)]);
      });
      names.set(`${name}.table`, [printDim(type.batch), "slot"]);
      names.set(`${name}.length`, [printDim(type.batch)]);
      return;
    case "record":
    case "plan":
    case "error":
      return;
  }
}

function axisText(axis: Axis): string {
  switch (axis.kind) {
    case "dim":
      return printDim(axis.dim);
    case "pack":
      return "...";
    case "ragged":
      return `${axis.name}[${printDim(axis.by)}]`;
  }
}
