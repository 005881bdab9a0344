/**
 * Walking and rewriting the scalar bodies of nodes.
 *
 * A scalar's operands have lower ids than it has, so ascending ids are an order in which operands come first: no
 * function here recurses, whatever the depth of a body.
 */
import type { Arena } from "./arena.ts";
import type { Node, Scalar } from "./ir.ts";

const none: readonly Scalar[] = [];

export function operandsOf(scalar: Scalar): readonly Scalar[] {
  switch (scalar.kind) {
    case "const":
    case "dim":
    case "axis":
    case "carrier":
      return none;
    case "read":
      return scalar.otherwise === undefined ? scalar.index : [...scalar.index, scalar.otherwise];
    case "apply":
      return scalar.args;
    case "round":
    case "cast":
    case "reduce":
      return [scalar.arg];
  }
}

/** Every scalar that the roots use, themselves included, operands first. */
export function reachable(roots: readonly Scalar[]): Scalar[] {
  const seen = new Seen();
  const stack = [...roots];
  for (let scalar = stack.pop(); scalar !== undefined; scalar = stack.pop()) {
    if (!seen.add(scalar)) continue;
    for (const operand of operandsOf(scalar)) stack.push(operand);
  }
  return seen.all.sort((a, b) => a.id - b.id);
}

/** The scalar over other operands, given in the order of `operandsOf`. */
export function withOperands(arena: Arena, scalar: Scalar, operands: readonly Scalar[]): Scalar {
  switch (scalar.kind) {
    case "const":
    case "dim":
    case "axis":
    case "carrier":
      return scalar;
    case "read": {
      const index = operands.slice(0, scalar.index.length);
      return arena.readAt(scalar.input, scalar.type, index, scalar.bounds, operands[scalar.index.length]);
    }
    case "apply":
      return arena.apply(scalar.fn, ...operands);
    case "round":
      return arena.round(scalar.to, operands[0] ?? scalar.arg, scalar.scaled);
    case "reduce":
      return arena.reduce(scalar.monoid, scalar.axes, operands[0] ?? scalar.arg);
    case "cast":
      return arena.cast(scalar.to, operands[0] ?? scalar.arg);
  }
}

/** Every scalar that the roots use, as a reader meets them: an operand after its user, left to right. */
export function inReadingOrder(roots: readonly Scalar[]): readonly Scalar[] {
  const seen = new Seen();
  const stack = [...roots].reverse();
  for (let scalar = stack.pop(); scalar !== undefined; scalar = stack.pop()) {
    if (!seen.add(scalar)) continue;
    const operands = operandsOf(scalar);
    for (let i = operands.length - 1; i >= 0; i--) {
      const operand = operands[i];
      if (operand !== undefined) stack.push(operand);
    }
  }
  return seen.all;
}

/** Most bodies are small: up to here looking through a list is faster than hashing. */
const smallBody = 24;

class Seen {
  readonly all: Scalar[] = [];
  #set: Set<Scalar> | undefined = undefined;

  /** False if it was there. */
  add(scalar: Scalar): boolean {
    if (this.#set === undefined) {
      if (this.all.includes(scalar)) return false;
      this.all.push(scalar);
      if (this.all.length > smallBody) this.#set = new Set(this.all);
      return true;
    }
    if (this.#set.has(scalar)) return false;
    this.#set.add(scalar);
    this.all.push(scalar);
    return true;
  }
}

/**
 * Rewrites bodies bottom-up: `rule` sees each scalar over rewritten operands. It does not see a scalar that folds
 * into one of its operands, since it has seen that one already.
 */
export function rewriteScalars(
  arena: Arena,
  roots: readonly Scalar[],
  rule: (scalar: Scalar) => Scalar,
  all: readonly Scalar[] = reachable(roots),
): readonly Scalar[] {
  /** Only what changed: most of most bodies does not. */
  const result = new Map<Scalar, Scalar>();
  for (const scalar of all) {
    const rebuilt = result.size === 0 ? scalar : rebuiltScalar(arena, scalar, result);
    const ruled = rebuilt.kind === scalar.kind ? rule(rebuilt) : rebuilt;
    if (ruled !== scalar) result.set(scalar, ruled);
  }
  return result.size === 0 ? roots : roots.map((root) => result.get(root) ?? root);
}

function rebuiltScalar(arena: Arena, scalar: Scalar, result: ReadonlyMap<Scalar, Scalar>): Scalar {
  const operands = operandsOf(scalar);
  for (const operand of operands) {
    if (result.has(operand))
      return withOperands(
        arena,
        scalar,
        operands.map((o) => result.get(o) ?? o),
      );
  }
  return scalar;
}

/** The scalars that a node's bodies begin at: lifts, then results; targets, value and keep of a scatter. */
export function rootsOf(node: Node): readonly Scalar[] {
  switch (node.kind) {
    case "loop":
      return [
        ...node.carriers.map((c) => c.lift),
        ...node.results.map((r) => r.value),
        ...(node.order === undefined ? [] : [node.order.place]),
      ];
    case "scatter":
      return [...node.target, node.value, node.keep];
    case "input":
    case "topk":
    case "scan":
    case "sort":
    case "dispatch":
      return none;
  }
}
