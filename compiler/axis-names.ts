/** The names that a function's signature gives the axes of its tensors, for the plan: `q: [B, S, Hkv, G, D]`. */
import { pagesName } from "./check/paged-names.ts";
import type { Axis, Type, TypedFn, TypedModule } from "./check/typed.ts";
import { printDim } from "./types/dim-text.ts";

interface Names {
  readonly names: Map<string, readonly string[]>;
  /** What stands for `...`. */
  readonly pack: readonly string[];
}

/** By the name of the input or result; `pack` stands for `...`. A tensor whose axes the signature does not name is left out. */
export function axisNames(fn: TypedFn, pack: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const cx: Names = { names: new Map(), pack };
  for (const param of fn.params) note(cx, param.name, param.type);
  if (fn.module !== undefined) noteModule(cx, "", fn.module);
  if (fn.result.kind === "record") for (const field of fn.result.fields) note(cx, field.name, field.type);
  else note(cx, "out", fn.result);
  return cx.names;
}

function noteModule(cx: Names, prefix: string, module: TypedModule): void {
  for (const member of [...module.params, ...module.states]) note(cx, prefix + member.name, member.type);
}

function note(cx: Names, name: string, type: Type): void {
  const { names } = cx;
  switch (type.kind) {
    case "tensor":
      // Ragged rows stand one behind another, in one axis with their experts; how many each has is a tensor.
      names.set(
        name,
        type.axes.flatMap((axis, k) => (type.axes[k + 1]?.kind === "ragged" ? [] : axisTexts(cx, axis))),
      );
      for (const axis of type.axes) if (axis.kind === "ragged") names.set(axis.name, [printDim(axis.by)]);
      return;
    case "module":
      noteModule(cx, `${name}.`, type.module);
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

function axisTexts({ pack }: Names, axis: Axis): readonly string[] {
  switch (axis.kind) {
    case "dim":
      return [printDim(axis.dim)];
    case "pack":
      return pack;
    case "ragged":
      return [`${axis.name}[${printDim(axis.by)}]`];
  }
}
