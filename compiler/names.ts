/** Names for kernels and values that a reader of the output knows from the source. */
import type { Arena } from "./tensor/arena.ts";
import type { Graph, LoopNode, Ref, ScatterNode } from "./tensor/ir.ts";

/** Longest stem of a name; the rest of a file name or identifier has room beside it. */
const longest = 48;

export class KernelNames {
  readonly #arena: Arena;
  readonly #program: string;
  readonly #used = new Map<string, number>();
  readonly #results: ReadonlyMap<string, string>;

  constructor(arena: Arena, graph: Graph) {
    this.#arena = arena;
    this.#program = graph.name;
    this.#results = new Map(
      graph.results.map(({ name, value }) => [`${value.node.id}.${value.output}`, name]),
    );
  }

  /** The source's name of a value, or what it is part of. */
  value(ref: Ref): string {
    if (ref.node.kind === "input") return ref.node.name;
    const hint =
      this.#results.get(`${ref.node.id}.${ref.output}`) ??
      this.#arena.hint(ref) ??
      this.#arena.hint({ node: ref.node, output: 0 });
    return hint ?? `value${ref.node.id}`;
  }

  /** `attend_score`: the function and what the kernel computes, each kernel's its own. */
  kernel(node: LoopNode | ScatterNode): string {
    const first = node.types
      .map((_, output) => this.#arena.hint({ node, output }))
      .find((hint) => hint !== undefined);
    return this.unique(first === undefined ? this.#program : `${this.#program}_${first}`);
  }

  unique(wanted: string): string {
    const stem = wanted.replace(/[^A-Za-z0-9_]+/g, "_").slice(0, longest);
    const count = (this.#used.get(stem) ?? 0) + 1;
    this.#used.set(stem, count);
    return count === 1 ? stem : `${stem}_${count}`;
  }

  /** One line for a reader: `score[b, s, h, t] from q, k: sum over d`. */
  summary(node: LoopNode | ScatterNode): string {
    const inputs = node.inputs.map((ref) => this.value(ref));
    const from = inputs.length === 0 ? "" : ` from ${[...new Set(inputs)].join(", ")}`;
    if (node.kind === "scatter") return `${this.value({ node, output: 0 })}: rows scattered by index${from}`;
    const axes = [...node.axes, ...node.over, ...node.inner];
    const results = node.results.map((result, output) => {
      const names = result.axes.map((k) => axes[k]?.name ?? "");
      let at = 0;
      const along = result.merged?.map(({ count }) => names.slice(at, (at += count)).join(" ")) ?? names;
      return `${this.value({ node, output })}[${along.join(", ")}]`;
    });
    const over = node.over.map((axis) => axis.name).join(", ");
    const sweeps =
      node.carriers.length === 0
        ? ""
        : `: ${node.carriers.map((carrier) => carrier.monoid).join(", ")} over ${over}`;
    return `${results.join(", ")}${from}${sweeps}`;
  }
}
