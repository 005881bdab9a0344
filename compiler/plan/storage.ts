/**
 * Where each value of a fused graph lives, and in which order its kernels run.
 *
 * What is computed from parameters alone is computed before the first run, and kept.
 *
 * A scatter writes over its base where nobody needs the old contents any more; else the base is copied first. A
 * state's new value goes back into the state's own memory at the end. So updates cost what they change.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Graph, InputNode, LoopNode, Node, Ref, ScatterNode, TensorType } from "../tensor/ir.ts";
import { preparedNodes } from "../tensor/parameters.ts";

export interface Storage {
  readonly id: number;
  readonly type: TensorType;
  readonly kind: "input" | "state" | "output" | "temporary" | "prepared";
  /** For a reader: the source's name of what lives here. */
  readonly name: string;
}

/** One launch. `buffers` follow the kernel's: the node's inputs that it reads, then its outputs. */
export type Step =
  | { readonly kind: "kernel"; readonly node: LoopNode | ScatterNode; readonly buffers: readonly Storage[] }
  | { readonly kind: "copy"; readonly from: Storage; readonly to: Storage };

export interface Program {
  readonly storages: readonly Storage[];
  /** Steps that run once for the same parameters, before all others. */
  readonly preparation: readonly Step[];
  /** Steps of each run. */
  readonly steps: readonly Step[];
  /** Storage of each input of the graph, in order. */
  readonly inputs: readonly { readonly input: InputNode; readonly storage: Storage }[];
  readonly results: readonly { readonly name: string; readonly storage: Storage }[];
}

/** `name` gives a value's name in the source, for a reader. */
export function assignStorage(graph: Graph, order: readonly Node[], name: (ref: Ref) => string): Program {
  return new Assignment(graph, name).run(order);
}

class Assignment {
  readonly #graph: Graph;
  readonly #name: (ref: Ref) => string;
  readonly #storages: Storage[] = [];
  readonly #of = new Map<Ref, Storage>();
  readonly #prepared: ReadonlySet<Node>;
  readonly #preparation: Step[] = [];
  readonly #steps: Step[] = [];
  readonly #inputs: { input: InputNode; storage: Storage }[] = [];

  constructor(graph: Graph, name: (ref: Ref) => string) {
    this.#graph = graph;
    this.#prepared = preparedNodes(graph);
    this.#name = name;
  }

  run(order: readonly Node[]): Program {
    for (const input of this.#graph.inputs) {
      const kind = input.role === "state" ? "state" : "input";
      const storage = this.#add(typeAt(input, 0), kind, input.name);
      this.#inputs.push({ input, storage });
      this.#of.set(this.#canonical({ node: input, output: 0 }), storage);
    }
    const results = new Set(this.#graph.results.map((result) => key(result.value)));
    for (const node of inPlaceOrder(order)) {
      if (node.kind === "loop") this.#loop(node, results);
      else if (node.kind === "scatter") this.#scatter(node, results, order);
      else invariant(node.kind === "input", `a ${node.kind} node is left after expansion`);
    }
    this.#giveBackStates();
    const named = this.#results();
    const [storages, preparation, steps, inputs] = [
      this.#storages,
      this.#preparation,
      this.#steps,
      this.#inputs,
    ];
    return { storages, preparation, steps, inputs, results: named };
  }

  readonly #refs = new Map<string, Ref>();

  /** One object for each output, whoever made the ref. */
  #canonical(ref: Ref): Ref {
    const known = this.#refs.get(key(ref));
    if (known !== undefined) return known;
    this.#refs.set(key(ref), ref);
    return ref;
  }

  #add(type: TensorType, kind: Storage["kind"], name: string): Storage {
    const storage: Storage = { id: this.#storages.length, type, kind, name };
    this.#storages.push(storage);
    return storage;
  }

  #storage(ref: Ref): Storage {
    const storage = this.#of.get(this.#canonical(ref));
    invariant(storage !== undefined, "a value is read before it is computed");
    return storage;
  }

  #define(node: Node, output: number, results: ReadonlySet<string>): Storage {
    const ref = this.#canonical({ node, output });
    const own = results.has(key(ref)) ? "output" : "temporary";
    const kind = this.#prepared.has(node) ? "prepared" : own;
    const storage = this.#add(typeAt(node, output), kind, this.#name(ref));
    this.#of.set(ref, storage);
    return storage;
  }

  #loop(node: LoopNode, results: ReadonlySet<string>): void {
    const reads = node.inputs.map((ref) => this.#storage(ref));
    const writes = node.types.map((_, output) => this.#define(node, output, results));
    this.#stepsOf(node).push({ kind: "kernel", node, buffers: [...reads, ...writes] });
  }

  #scatter(node: ScatterNode, results: ReadonlySet<string>, order: readonly Node[]): void {
    const base = node.inputs[0];
    invariant(base !== undefined, "a scatter has a base");
    const [, ...reads] = node.inputs.map((ref) => this.#storage(ref));
    const old = this.#storage(base);
    const ref = this.#canonical({ node, output: 0 });
    let target = old;
    if (this.#mayOverwrite(base, node, order)) {
      // A temporary that is also a result moves to where the result is wanted.
      if (old.kind === "temporary" && results.has(key(ref))) target = this.#promote(old);
      this.#of.set(ref, target);
    } else {
      target = this.#define(node, 0, results);
      this.#stepsOf(node).push({ kind: "copy", from: old, to: target });
    }
    this.#stepsOf(node).push({ kind: "kernel", node, buffers: [...reads, target] });
  }

  #stepsOf(node: Node): Step[] {
    return this.#prepared.has(node) ? this.#preparation : this.#steps;
  }

  #promote(old: Storage): Storage {
    const promoted: Storage = { ...old, kind: "output" };
    this.#storages[old.id] = promoted;
    for (const [ref, storage] of this.#of) if (storage === old) this.#of.set(ref, promoted);
    this.#steps.forEach((step, k) => {
      this.#steps[k] =
        step.kind === "copy"
          ? {
              ...step,
              from: step.from === old ? promoted : step.from,
              to: step.to === old ? promoted : step.to,
            }
          : { ...step, buffers: step.buffers.map((buffer) => (buffer === old ? promoted : buffer)) };
    });
    return promoted;
  }

  /** The base's memory may be written over: it is ours or a state that this updates, and all other users came before. */
  #mayOverwrite(base: Ref, scatter: ScatterNode, order: readonly Node[]): boolean {
    const storage = this.#storage(base);
    if (storage.kind === "input") return false;
    if (this.#graph.results.some((result) => key(result.value) === key(base))) return false;
    if (storage.kind === "state" && !this.#leadsToState(scatter, storage)) return false;
    // What is prepared is written over while it is prepared, or never.
    if (storage.kind === "prepared" && !this.#prepared.has(scatter)) return false;
    const before = this.#stepsOf(scatter);
    const done = new Set<Node>(before.flatMap((step) => (step.kind === "kernel" ? [step.node] : [])));
    return (
      order.every(
        (node) => node === scatter || done.has(node) || !node.inputs.some((ref) => key(ref) === key(base)),
      ) && !scatter.inputs.slice(1).some((ref) => this.#storage(ref) === storage)
    );
  }

  /** True where the scatter's result ends, through further scatters, as the new value of the state that lives in `storage`. */
  #leadsToState(scatter: ScatterNode, storage: Storage): boolean {
    return this.#graph.updates.some((update) => {
      if (this.#storage({ node: update.input, output: 0 }) !== storage) return false;
      let node: Node | undefined = update.value.node;
      while (node !== undefined && node !== scatter)
        node = node.kind === "scatter" ? node.inputs[0]?.node : undefined;
      return node === scatter;
    });
  }

  #giveBackStates(): void {
    for (const update of this.#graph.updates) {
      const [from, to] = [this.#storage(update.value), this.#storage({ node: update.input, output: 0 })];
      if (from !== to) this.#steps.push({ kind: "copy", from, to });
    }
  }

  /** Each result has memory of its own: one that is an input, a state or another result is copied. */
  #results(): { name: string; storage: Storage }[] {
    const taken = new Set<Storage>();
    return this.#graph.results.map((result) => {
      const storage = this.#storage(result.value);
      if (storage.kind === "output" && !taken.has(storage)) {
        taken.add(storage);
        return { name: result.name, storage };
      }
      const own = this.#add(storage.type, "output", result.name);
      this.#steps.push({ kind: "copy", from: storage, to: own });
      return { name: result.name, storage: own };
    });
  }
}

function key(ref: Ref): string {
  return `${ref.node.id}.${ref.output}`;
}

function typeAt(node: Node, output: number): TensorType {
  const type = node.types[output];
  invariant(type !== undefined, "an output has a type");
  return type;
}

/** The given order, with each scatter moved behind the other users of its base where dependence allows. */
function inPlaceOrder(order: readonly Node[]): Node[] {
  const users = new Map<string, Node[]>();
  for (const node of order)
    for (const ref of node.inputs) (users.get(key(ref)) ?? users.set(key(ref), []).get(key(ref)))?.push(node);
  const done = new Set<Node>();
  const running = new Set<Node>();
  const out: Node[] = [];
  const visit = (node: Node): void => {
    if (done.has(node)) return;
    running.add(node);
    for (const ref of node.inputs) visit(ref.node);
    const base = node.kind === "scatter" ? node.inputs[0] : undefined;
    if (base !== undefined) {
      for (const other of users.get(key(base)) ?? []) {
        // A user that needs this scatter's own result cannot come before it: then the base is copied.
        if (other !== node && !running.has(other) && !reaches(other, node)) visit(other);
      }
    }
    running.delete(node);
    if (done.has(node)) return;
    done.add(node);
    out.push(node);
  };
  order.forEach(visit);
  return out;
}

/** True where `node` depends on `target`. */
function reaches(node: Node, target: Node): boolean {
  const seen = new Set<Node>();
  const stack: Node[] = [node];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next === target) return true;
    if (seen.has(next) || next.id < target.id) continue;
    seen.add(next);
    stack.push(...next.inputs.map((ref) => ref.node));
  }
  return false;
}
