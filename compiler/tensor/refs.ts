/** What asks of refs: their types, and whether two are one. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Ref, TensorType } from "./ir.ts";

export function typeOf(ref: Ref): TensorType {
  const type = ref.node.types[ref.output];
  invariant(type !== undefined, `node ${ref.node.id} has no output ${ref.output}`);
  return type;
}

/**
 * One ref for each item, in an array of one kind (`map` gives either of two): who reads nodes' inputs then meets one kind
 * alone, and is compiled once.
 */
export function refsOf<T>(items: readonly T[], find: (item: T) => Ref): readonly Ref[] {
  const refs = Array<Ref>(items.length);
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (item !== undefined) refs[i] = find(item);
  }
  return refs;
}

export function sameRef(a: Ref, b: Ref): boolean {
  return a.node === b.node && a.output === b.output;
}
