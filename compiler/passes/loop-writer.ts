/** A loop that is written from the bodies of others, over the inputs that it comes to read. */
import type { Arena } from "../tensor/arena.ts";
import type { Carrier, LoopAxis, LoopNode, LoopResult, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { rewriteScalars } from "../tensor/scalars.ts";

/** What stands for a read of a tensor that the loop makes itself; its indices are in the loop's terms. */
export type MadeRead = Scalar | ((read: ScalarRead) => Scalar | undefined);

export class LoopWriter {
  readonly #arena: Arena;
  readonly axes: readonly LoopAxis[];
  readonly over: readonly LoopAxis[];
  readonly inner: LoopAxis[] = [];
  readonly inputs: Ref[] = [];
  readonly carriers: Carrier[] = [];
  results: readonly LoopResult[] = [];

  constructor(arena: Arena, { axes, over }: Pick<LoopNode, "axes" | "over">) {
    this.#arena = arena;
    this.axes = axes;
    this.over = over;
  }

  /**
   * Scalars of another loop in this one's terms: `axes` are its axes (others stay), `carrier` stands for its carriers,
   * `made` for reads, and `after` for what is left.
   */
  take(
    from: Pick<LoopNode, "inputs">,
    scalars: readonly Scalar[],
    axes: readonly Scalar[],
    carrier: (k: number, scalar: Scalar) => Scalar,
    made: ReadonlyMap<Ref, MadeRead> = new Map(),
    after: (scalar: Scalar) => Scalar = (scalar) => scalar,
  ): readonly Scalar[] {
    const arena = this.#arena;
    return rewriteScalars(arena, scalars, (s) => {
      if (s.kind === "axis") return axes[s.axis] ?? s;
      if (s.kind === "carrier") return carrier(s.carrier, s);
      if (s.kind !== "read") return after(s);
      const ref = from.inputs[s.input];
      if (ref === undefined) return s;
      const known = made.get(ref);
      const value = typeof known === "function" ? known(s) : known;
      return value ?? arena.readAt(this.position(ref), s.type, s.index, s.bounds, s.otherwise);
    });
  }

  /** Where a tensor stands among the inputs. */
  position(ref: Ref): number {
    const found = this.inputs.indexOf(ref);
    return found < 0 ? this.inputs.push(ref) - 1 : found;
  }

  loop(): LoopNode {
    const { axes, over, inner, carriers, results, inputs } = this;
    return this.#arena.loop({ axes, over, inner, carriers, results, inputs });
  }
}
