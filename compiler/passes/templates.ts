/**
 * Rewriting each form once. Layers of a model have nodes of the same forms, so what a pass makes of one of them it
 * makes of all, but for the tensors that are read.
 */
import type { Arena } from "../tensor/arena.ts";
import { Interner } from "../tensor/intern.ts";
import type { LoopNode, Node, Ref, ScatterNode } from "../tensor/ir.ts";

interface Template {
  readonly node: LoopNode | ScatterNode;
  /** Position in the pool of each of its inputs. */
  readonly sources: readonly number[];
}

/** What has been made in one run of a pass, by all that it was made from but for the tensors that are read. */
export class Templates {
  readonly #arena: Arena;
  readonly #cases = new Interner();
  readonly #made: (Template | undefined)[] = [];

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Where all that a node is made from is written, before `node` makes it; `first` is the first word of it. */
  begin(first: number): Interner {
    this.#cases.begin();
    this.#cases.word(first);
    return this.#cases;
  }

  /**
   * The node that `make` makes. Its form must follow from the words written since `begin`, from the types of the `pool`'s
   * refs, which must follow from the words as well, and from which of these refs are one; and it may read refs of the
   * pool alone.
   */
  node(pool: readonly Ref[], make: () => Node): Node {
    const t = this.#cases;
    for (let i = 0; i < pool.length; i++) t.word(pool.indexOf(pool[i] as Ref));
    const id = t.id();
    const known = this.#made[id];
    if (known !== undefined) return this.#arena.relink(known.node, pick(pool, known.sources));
    const node = make();
    if (node.kind === "loop" || node.kind === "scatter")
      this.#made[id] = { node, sources: node.inputs.map((ref) => pool.indexOf(ref)) };
    return node;
  }
}

function pick(pool: readonly Ref[], sources: readonly number[]): readonly Ref[] {
  const refs = Array<Ref>(sources.length);
  for (let i = 0; i < sources.length; i++) {
    const ref = pool[sources[i] ?? -1];
    if (ref !== undefined) refs[i] = ref;
  }
  return refs;
}
