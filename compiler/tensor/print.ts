/**
 * The text of a graph. `parse` reads it back to the same structure.
 *
 *     graph rmsnorm
 *     dims B
 *     %x = input argument "x": bf16[B, 7168]
 *     %y = loop b in B over d in 7168 {
 *       let t0 = %x[b, d]
 *       r = sum f32: mul(t0, t0)
 *       yield bf16[b, d]: mul(t0, rsqrt(div(r, 7168.0)))
 *     }
 *     result "y" = %y
 *
 * A node has its hint for a name, else a number; `%top.1` is output 1 of `%top`. In a body, axes, carriers and
 * lets are words; `f32(x)` is a cast of an integer and a rounding of a float; `3` is an i32, `3u` a u32, `3l` an
 * i64, `3.0` an f32, `dim(B * S)` a size. A scalar used twice has a `let`, and so has every 24th level of nesting.
 */
import { sizeExpression } from "../types/dim-text.ts";
import { printFloat } from "../text.ts";
import type { Arena } from "./arena.ts";
import { topological } from "./graphs.ts";
import type { Graph, LoopAxis, LoopResult, Node, Ref, Scalar, TensorType } from "./ir.ts";
import { operandsOf, reachable, rootsOf } from "./scalars.ts";

export function print(arena: Arena, graph: Graph): string {
  const names = new Names();
  const lines = [`graph ${graph.name.replace(/[^A-Za-z0-9_]/g, "_")}`];
  if (graph.dims.length > 0) lines.push(`dims ${graph.dims.join(", ")}`);
  for (const check of graph.checks) {
    lines.push(
      `check ${sizeExpression(check.left)} ${check.relation} ${sizeExpression(check.right)}: ${JSON.stringify(check.message)}`,
    );
  }
  const inputs = new Set<Node>(graph.inputs);
  for (const node of [...graph.inputs, ...topological(graph).filter((n) => !inputs.has(n))])
    printNode(arena, node, names, lines);
  for (const result of graph.results)
    lines.push(`result ${JSON.stringify(result.name)} = ${names.ref(result.value)}`);
  for (const update of graph.updates)
    lines.push(`update ${JSON.stringify(update.input.name)} = ${names.ref(update.value)}`);
  return `${lines.join("\n")}\n`;
}

export function printType(type: TensorType): string {
  return `${type.dtype}[${type.shape.map(sizeExpression).join(", ")}]`;
}

class Names {
  readonly #byNode = new Map<Node, string>();
  readonly #used = new Set<string>();

  ref(ref: Ref): string {
    const name = this.#byNode.get(ref.node) ?? `node${ref.node.id}`;
    return ref.output === 0 ? `%${name}` : `%${name}.${ref.output}`;
  }

  give(node: Node, hint: string | undefined): string {
    const wanted = (hint ?? "").replace(/[^A-Za-z0-9_]/g, "_");
    const name = unique(/^[A-Za-z_]/.test(wanted) ? wanted : String(this.#byNode.size), this.#used);
    this.#byNode.set(node, name);
    return name;
  }
}

function unique(wanted: string, used: Set<string>): string {
  let name = wanted;
  for (let n = 2; used.has(name); n++) name = `${wanted}_${n}`;
  used.add(name);
  return name;
}

function printNode(arena: Arena, node: Node, names: Names, lines: string[]): void {
  const ref = (i: number): string => {
    const input = node.inputs[i];
    return input === undefined ? "" : names.ref(input);
  };
  const hint = node.kind === "input" ? node.name : arena.hint(arena.ref(node));
  // The node's own name is given after its inputs are spelled, since it may not name itself.
  const give = (text: string): void => {
    lines.push(`%${names.give(node, hint)} = ${text}`);
  };
  switch (node.kind) {
    case "input":
      give(`input ${node.role} ${JSON.stringify(node.name)}: ${node.types.map(printType).join("")}`);
      return;
    case "loop":
    case "scatter": {
      const body = new Body(node, names);
      const over =
        node.kind === "loop" && node.over.length > 0
          ? ` over ${body.axisList(node.over, node.axes.length)}`
          : "";
      const within =
        node.kind === "loop" && node.inner.length > 0
          ? ` within ${body.axisList(node.inner, node.axes.length + node.over.length)}`
          : "";
      const head = [body.axisList(node.axes, 0)]
        .filter((text) => text !== "")
        .map((text) => ` ${text}`)
        .join("");
      give(node.kind === "loop" ? `loop${head}${over}${within} {` : `scatter ${ref(0)}${head} {`);
      lines.push(...body.lines(), "}");
      return;
    }
    case "topk":
      give(
        `topk ${ref(0)} axis ${node.axis} k ${sizeExpression(node.k)}${node.inputs.length > 1 ? ` keep ${ref(1)}` : ""};`,
      );
      return;
    case "scan":
    case "sort":
      give(`${node.kind} ${ref(0)} axis ${node.axis}`);
      return;
    case "dispatch":
      give(`dispatch ${ref(0)} experts ${sizeExpression(node.experts)} align ${node.align}`);
      return;
  }
}

/** Words that a body has a meaning for. */
const reserved: readonly string[] = [
  "true",
  "false",
  "inf",
  "nan",
  "else",
  "clamp",
  "let",
  "yield",
  "order",
  "target",
  "value",
  "keep",
];
const nesting = 24;

class Body {
  readonly #node: Extract<Node, { kind: "loop" | "scatter" }>;
  readonly #names: Names;
  readonly #used = new Set<string>(reserved);
  readonly #axes: string[];
  readonly #carriers: string[];
  readonly #lets = new Map<Scalar, string>();
  readonly #shared: ReadonlySet<Scalar>;
  readonly #lines: string[] = [];

  constructor(node: Extract<Node, { kind: "loop" | "scatter" }>, names: Names) {
    this.#node = node;
    this.#names = names;
    const all = node.kind === "loop" ? [...node.axes, ...node.over, ...node.inner] : node.axes;
    this.#axes = all.map((axis) => this.#unique(axis.name));
    this.#carriers = node.kind === "loop" ? node.carriers.map((c) => this.#unique(c.name)) : [];
    this.#shared = sharedScalars(rootsOf(node));
  }

  axisList(axes: readonly LoopAxis[], from: number): string {
    return axes
      .map((axis, i) => `${this.#axes[from + i] ?? ""} in ${sizeExpression(axis.extent)}`)
      .join(", ");
  }

  lines(): readonly string[] {
    const node = this.#node;
    const line = (head: string, value: Scalar): void => {
      const text = this.#root(value);
      this.#lines.push(`  ${head}: ${text}`);
    };
    if (node.kind === "scatter") {
      const target = node.target.map((s) => this.#root(s)).join(", ");
      this.#lines.push(`  target [${target}]`);
      line("value", node.value);
      line("keep", node.keep);
      return this.#lines;
    }
    node.carriers.forEach((c, i) => {
      const runs = c.every === undefined ? "" : ` every ${c.every}`;
      line(`${this.#carriers[i] ?? ""} = ${c.monoid} ${c.lift.type}${runs}`, c.lift);
    });
    if (node.order !== undefined) line(`order ${this.#axes[node.order.axis] ?? ""}`, node.order.place);
    for (const r of node.results) line(`yield ${r.dtype}[${this.#resultAxes(r)}]`, r.value);
    return this.#lines;
  }

  /** `n, k`; of axes that make one `n, (block i in 7168)`. */
  #resultAxes({ axes, merged }: LoopResult): string {
    const names = axes.map((k) => this.#axes[k] ?? "");
    if (merged === undefined) return names.join(", ");
    let at = 0;
    return merged
      .map(({ count, extent }) => {
        const own = names.slice(at, (at += count));
        return count === 1 ? own.join("") : `(${own.join(" ")} in ${sizeExpression(extent)})`;
      })
      .join(", ");
  }

  /** Spells a root, after the lets that it needs and that are not there yet. */
  #root(root: Scalar): string {
    for (const scalar of reachable([root])) {
      if (!this.#shared.has(scalar) || this.#lets.has(scalar)) continue;
      const text = this.#spell(scalar);
      const name = this.#unique("t0");
      this.#lets.set(scalar, name);
      this.#lines.push(`  let ${name} = ${text}`);
    }
    return this.#scalar(root);
  }

  #scalar(scalar: Scalar): string {
    return this.#lets.get(scalar) ?? this.#spell(scalar);
  }

  #spell(scalar: Scalar): string {
    switch (scalar.kind) {
      case "const":
        return printConst(scalar);
      case "dim":
        return `dim(${sizeExpression(scalar.dim)})`;
      case "axis":
        return this.#axes[scalar.axis] ?? `axis${scalar.axis}`;
      case "carrier":
        return this.#carriers[scalar.carrier] ?? `carrier${scalar.carrier}`;
      case "apply":
        return `${scalar.fn}(${scalar.args.map((arg) => this.#scalar(arg)).join(", ")})`;
      case "reduce": {
        const axes = scalar.axes.map((axis) => this.#axes[axis] ?? `axis${axis}`).join(", ");
        return `${scalar.monoid}[${axes}](${this.#scalar(scalar.arg)})`;
      }
      case "round":
        if (scalar.scaled) return `scaled_${scalar.to}(${this.#scalar(scalar.arg)})`;
        return `${scalar.to}(${this.#scalar(scalar.arg)})`;
      case "cast":
        return `${scalar.to}(${this.#scalar(scalar.arg)})`;
      case "read": {
        const input = this.#node.inputs[scalar.input];
        const tensor = input === undefined ? `%input${scalar.input}` : this.#names.ref(input);
        const text = `${tensor}[${scalar.index.map((i) => this.#scalar(i)).join(", ")}]`;
        if (scalar.otherwise !== undefined) return `${text} else ${this.#scalar(scalar.otherwise)}`;
        return scalar.bounds === "clamp" ? `${text} clamp` : text;
      }
    }
  }

  #unique(wanted: string): string {
    const word = wanted.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?![A-Za-z_])/, "_");
    const stem = /^t\d+$/.test(word) ? "t" : undefined;
    if (stem === undefined) return unique(word, this.#used);
    let n = 0;
    while (this.#used.has(`${stem}${n}`)) n += 1;
    return unique(`${stem}${n}`, this.#used);
  }
}

/** Scalars that are worth a name: computed, and used twice or deep inside a nest. */
function sharedScalars(roots: readonly Scalar[]): ReadonlySet<Scalar> {
  const uses = new Map<Scalar, number>();
  const depths = new Map<Scalar, number>();
  const shared = new Set<Scalar>();
  const all = reachable(roots);
  for (const root of roots) uses.set(root, (uses.get(root) ?? 0) + 1);
  for (const scalar of all)
    for (const operand of operandsOf(scalar)) uses.set(operand, (uses.get(operand) ?? 0) + 1);
  for (const scalar of all) {
    const operands = operandsOf(scalar);
    const depth = operands.reduce((most, operand) => Math.max(most, (depths.get(operand) ?? 0) + 1), 0);
    const leaf =
      scalar.kind === "const" || scalar.kind === "dim" || scalar.kind === "axis" || scalar.kind === "carrier";
    const named = !leaf && ((uses.get(scalar) ?? 0) > 1 || depth >= nesting);
    if (named) shared.add(scalar);
    depths.set(scalar, named ? 0 : depth);
  }
  return shared;
}

function printConst(scalar: Extract<Scalar, { kind: "const" }>): string {
  switch (scalar.type) {
    case "f32":
      return printFloat(Number(scalar.value));
    case "i32":
      return String(scalar.value);
    case "u32":
      return `${String(scalar.value)}u`;
    case "i64":
      return `${String(scalar.value)}l`;
    case "bool":
      return String(scalar.value);
  }
}
