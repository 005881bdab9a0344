/** Which values have one use, in the very body that defines them: those can stand inside of their user. */
import type { Kernel, Op, Value } from "../../kernel/ir.ts";
import { partsOf } from "../../kernel/walk.ts";

export interface Uses {
  /** Once, in its own body, and not as a bound that is evaluated on every trip. */
  isSingle(value: Value): boolean;
  isUsed(value: Value): boolean;
}

export function findUses(kernel: Kernel): Uses {
  const definedIn = new Map<Value, readonly Op[]>();
  const counts = new Map<Value, number>();
  const apart = new Set<Value>();
  const walk = (ops: readonly Op[]): void => {
    for (const op of ops) {
      const parts = partsOf(op);
      for (const value of parts.operands) {
        counts.set(value, (counts.get(value) ?? 0) + 1);
        if (definedIn.get(value) !== ops) apart.add(value);
      }
      if (op.kind === "for") apart.add(op.to);
      for (const result of parts.results) if (!("register" in result)) definedIn.set(result, ops);
      for (const body of parts.bodies) walk(body);
    }
  };
  walk(kernel.body);
  return {
    isSingle: (value) => counts.get(value) === 1 && !apart.has(value),
    isUsed: (value) => counts.has(value),
  };
}
