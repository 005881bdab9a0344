/** Names in scope: a chain of small maps, so that neither a long body nor a deep expression copies them. */
import type { Place } from "../diagnostics/diagnostic.ts";
import type { IndexVariable, TypedExpr, Variable } from "./typed.ts";

export type Local =
  | { readonly kind: "variable"; readonly variable: Variable; readonly mut: boolean; readonly place: Place }
  | { readonly kind: "index"; readonly variable: IndexVariable }
  /** A const of the module or file, put in place where it is used. */
  | { readonly kind: "const"; readonly value: TypedExpr };

export class Locals {
  readonly #own = new Map<string, Local>();
  readonly #outer: Locals | undefined;

  constructor(outer?: Locals, added: Iterable<readonly [string, Local]> = []) {
    this.#outer = outer;
    for (const [name, local] of added) this.#own.set(name, local);
  }

  get(name: string): Local | undefined {
    return this.#own.get(name) ?? this.#outer?.get(name);
  }

  /** From the next statement on: only the body that owns this scope adds to it. */
  add(name: string, local: Local): void {
    this.#own.set(name, local);
  }

  /** Innermost first, hidden ones left out. */
  *entries(): Generator<readonly [string, Local]> {
    yield* this.#own;
    for (const entry of this.#outer?.entries() ?? []) if (!this.#own.has(entry[0])) yield entry;
  }

  *names(): Generator<string> {
    for (const [name] of this.entries()) yield name;
  }
}
