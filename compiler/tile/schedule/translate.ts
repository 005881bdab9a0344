/** Scalar bodies of the tensor IR as tile expressions: axes become index expressions, carriers become tiles. */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { Scalar } from "../../tensor/ir.ts";
import type { GlobalBuffer, TileExpr } from "../ir.ts";

export interface Environment {
  /** For each loop axis its index expression. */
  readonly axes: readonly TileExpr[];
  /** For each carrier its value, once its sweep has run. */
  readonly carriers: readonly (TileExpr | undefined)[];
  /** What has been made already, reductions inside bodies above all. */
  readonly made?: ReadonlyMap<Scalar, TileExpr>;
  /** For each input of the node its buffer. */
  readonly inputs: readonly GlobalBuffer[];
}

/** Translates with sharing kept: one scalar of the graph is one expression object. */
export function translator(environment: Environment): (scalar: Scalar) => TileExpr {
  const done = new Map<Scalar, TileExpr>(environment.made);
  const translate = (scalar: Scalar): TileExpr => {
    const known = done.get(scalar);
    if (known !== undefined) return known;
    const made = make(scalar);
    done.set(scalar, made);
    return made;
  };
  const make = (scalar: Scalar): TileExpr => {
    switch (scalar.kind) {
      case "const":
        return { kind: "const", type: scalar.type, value: scalar.value };
      case "dim":
        return { kind: "size", type: "i32", dim: scalar.dim };
      case "axis": {
        const index = environment.axes[scalar.axis];
        invariant(index !== undefined, `axis ${scalar.axis} is not in scope`);
        return index;
      }
      case "carrier": {
        const value = environment.carriers[scalar.carrier];
        invariant(value !== undefined, `carrier ${scalar.carrier} is used before its sweep`);
        return value;
      }
      case "reduce":
        throw new InternalError("a reduction inside a body is used before it is made");
      case "read": {
        const buffer = environment.inputs[scalar.input];
        invariant(buffer !== undefined, `input ${scalar.input} has no buffer`);
        return {
          kind: "read",
          type: scalar.type,
          buffer,
          index: scalar.index.map(translate),
          bounds: scalar.bounds,
          otherwise: scalar.otherwise === undefined ? undefined : translate(scalar.otherwise),
        };
      }
      case "apply":
        return { kind: "apply", type: scalar.type, fn: scalar.fn, args: scalar.args.map(translate) };
      case "round":
        return { kind: "round", type: "f32", to: scalar.to, arg: translate(scalar.arg) };
      case "cast":
        return { kind: "cast", type: scalar.type, to: scalar.to, arg: translate(scalar.arg) };
    }
  };
  return translate;
}
