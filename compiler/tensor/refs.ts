/** What asks of refs: their types, and whether two are one. */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Ref, TensorType } from "./ir.ts";

export function typeOf(ref: Ref): TensorType {
  const type = ref.node.types[ref.output];
  invariant(type !== undefined, `node ${ref.node.id} has no output ${ref.output}`);
  return type;
}

export function sameRef(a: Ref, b: Ref): boolean {
  return a.node === b.node && a.output === b.output;
}
