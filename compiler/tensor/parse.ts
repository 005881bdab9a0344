/** Reads the text of a graph that `print` writes, into an arena. `parse(print(g))` has the structure of `g`. */
import { parseSize } from "../types/dim-text.ts";
import { isDType, isRounding, type DType } from "../types/dtype.ts";
import { constant, type Dim } from "../types/dim.ts";
import { TextReader } from "../text.ts";
import type { Arena } from "./arena.ts";
import type {
  Carrier,
  Graph,
  InputNode,
  LoopAxis,
  LoopOrder,
  LoopResult,
  Node,
  Ref,
  Scalar,
  SizeCheck,
  TensorType,
} from "./ir.ts";

/** Throws an `InternalError` with line and column where the text is no graph. */
export function parse(arena: Arena, text: string): Graph {
  const r: TextReader = new TextReader(text);
  const cx: Reading = { arena, r, nodes: new Map() };
  const inputs: InputNode[] = [];
  const results: { name: string; value: Ref }[] = [];
  const updates: { input: InputNode; value: Ref }[] = [];
  const checks: SizeCheck[] = [];
  r.expect("graph");
  const name = r.word();
  const dims: string[] = [];
  if (r.accept("dims"))
    do dims.push(r.word());
    while (r.accept(","));
  while (r.accept("check")) checks.push(parseCheck(r));
  while (r.token.kind !== "end") {
    if (r.accept("result")) {
      const title = r.string();
      r.expect("=");
      results.push({ name: title, value: parseRef(cx) });
    } else if (r.accept("update")) {
      const title = r.string();
      r.expect("=");
      const input = inputs.find((i) => i.name === title);
      if (input === undefined) r.fail(`there is no input "${title}"`);
      updates.push({ input, value: parseRef(cx) });
    } else {
      const node = parseNode(cx);
      if (node.kind === "input") inputs.push(node);
    }
  }
  return arena.graph({ name, inputs, results, updates, dims, checks });
}

interface Reading {
  readonly arena: Arena;
  readonly r: TextReader;
  readonly nodes: Map<string, Node>;
}

function parseCheck(r: TextReader): SizeCheck {
  const left = parseSize(r.slice("==", "<=", "<", "!="));
  const relation = r.next().text;
  if (relation !== "==" && relation !== "<=" && relation !== "<" && relation !== "!=")
    r.fail("expected a relation");
  const right = parseSize(r.slice(":"));
  r.expect(":");
  return { left, relation, right, message: r.string() };
}

function parseRef(cx: Reading): Ref {
  const name = cx.r.name("%");
  const node = cx.nodes.get(name);
  if (node === undefined) cx.r.fail(`there is no node %${name} above`);
  return cx.arena.ref(node, cx.r.accept(".") ? cx.r.integer() : 0);
}

function parseDType(r: TextReader): DType {
  const word = r.token.text;
  if (!isDType(word)) r.fail("expected a dtype");
  r.next();
  return word;
}

function parseType(cx: Reading): TensorType {
  const dtype = parseDType(cx.r);
  cx.r.expect("[");
  return cx.arena.type(
    dtype,
    cx.r.list("]", () => parseSize(cx.r.slice(",", "]"))),
  );
}

function parseNode(cx: Reading): Node {
  const r: TextReader = cx.r;
  const arena = cx.arena;
  const name = r.name("%");
  if (cx.nodes.has(name)) r.fail(`%${name} is there already`);
  r.expect("=");
  const node = parseRight(cx, r.word());
  cx.nodes.set(name, node);
  if (/^[A-Za-z_]/.test(name) && node.kind !== "input") arena.setHint(arena.ref(node), name);
  return node;
}

function parseRight(cx: Reading, kind: string): Node {
  const r: TextReader = cx.r;
  const arena = cx.arena;
  const axis = (): number => {
    r.expect("axis");
    return r.integer();
  };
  switch (kind) {
    case "input": {
      const role = r.word();
      if (role !== "argument" && role !== "param" && role !== "state")
        r.fail("expected argument, param or state");
      const name = r.string();
      r.expect(":");
      return arena.input(name, role, parseType(cx));
    }
    case "loop":
      return parseLoop(cx);
    case "scatter":
      return parseScatter(cx);
    case "topk": {
      const input = parseRef(cx);
      const along = axis();
      r.expect("k");
      const k = parseSize(r.slice("keep", ";"));
      const keep = r.accept("keep") ? parseRef(cx) : undefined;
      r.expect(";");
      return arena.topk(input, along, k, keep);
    }
    case "scan":
      return arena.scan(parseRef(cx), axis());
    case "sort":
      return arena.sort(parseRef(cx), axis());
    case "dispatch": {
      const index = parseRef(cx);
      r.expect("experts");
      const experts: Dim = parseSize(r.slice("align"));
      r.expect("align");
      return arena.dispatch(index, experts, r.integer());
    }
    default:
      return r.fail(`'${kind}' is no node`);
  }
}

function parseAxes(r: TextReader, ...stops: readonly string[]): LoopAxis[] {
  const axes: LoopAxis[] = [];
  if (stops.some((stop) => r.at(stop))) return axes;
  do {
    const name = r.word();
    r.expect("in");
    axes.push({ name, extent: parseSize(r.slice(",", ...stops)) });
  } while (r.accept(","));
  return axes;
}

function parseLoop(cx: Reading): Node {
  const r: TextReader = cx.r;
  const axes = parseAxes(r, "over", "within", "{");
  const over = r.accept("over") ? parseAxes(r, "within", "{") : [];
  const inner = r.accept("within") ? parseAxes(r, "{") : [];
  const body = new BodyReader(
    cx,
    [...axes, ...over, ...inner].map((axis) => axis.name),
    [],
  );
  const carriers: Carrier[] = [];
  const results: LoopResult[] = [];
  let order: LoopOrder | undefined;
  r.expect("{");
  while (!r.accept("}")) {
    if (body.acceptLet()) continue;
    if (r.accept("order")) {
      const name = r.word();
      const axis = axes.findIndex((one) => one.name === name);
      if (axis < 0) r.fail(`'${name}' is no parallel axis`);
      r.expect(":");
      order = { axis, place: body.scalar() };
      continue;
    }
    if (r.accept("yield")) {
      const dtype = parseDType(r);
      r.expect("[");
      const all = [...axes, ...over];
      const parts = r.list("]", () => parseResultAxis(r, body, all));
      r.expect(":");
      const along = parts.flatMap((part) => part.axes);
      const merged = parts.map(({ axes: own, extent }) => ({ count: own.length, extent }));
      const isPlain = parts.every((part) => part.axes.length === 1);
      results.push({ dtype, axes: along, ...(isPlain ? {} : { merged }), value: body.scalar() });
      continue;
    }
    const name = r.word();
    r.expect("=");
    const monoid = r.word();
    r.word();
    const every = r.accept("every") ? r.integer() : undefined;
    r.expect(":");
    const lift = body.scalar();
    body.names.set(name, cx.arena.carrier(carriers.length, lift.type));
    carriers.push({ name, monoid, lift, every });
  }
  return cx.arena.loop({ axes, over, inner, carriers, results, order, inputs: body.inputs });
}

/** An axis of a result: one of the loop's, or several as `(block i in 7168)`. */
function parseResultAxis(
  r: TextReader,
  body: BodyReader,
  all: readonly LoopAxis[],
): { readonly axes: readonly number[]; readonly extent: Dim } {
  if (!r.accept("(")) {
    const axis = body.axisNumber();
    return { axes: [axis], extent: all[axis]?.extent ?? constant(0) };
  }
  const axes: number[] = [];
  while (!r.accept("in")) axes.push(body.axisNumber());
  const extent = parseSize(r.slice(")"));
  r.expect(")");
  return { axes, extent };
}

function parseScatter(cx: Reading): Node {
  const r: TextReader = cx.r;
  const arena = cx.arena;
  const into = parseRef(cx);
  const axes = parseAxes(r, "{");
  const body = new BodyReader(
    cx,
    axes.map((axis) => axis.name),
    [into],
  );
  r.expect("{");
  while (body.acceptLet());
  r.expect("target");
  r.expect("[");
  const target = r.list("]", () => body.scalar());
  while (body.acceptLet());
  r.expect("value");
  r.expect(":");
  const value = body.scalar();
  while (body.acceptLet());
  r.expect("keep");
  r.expect(":");
  const keep = body.scalar();
  r.expect("}");
  return arena.scatter({ axes, inputs: body.inputs, target, value, keep });
}

class BodyReader {
  readonly #cx: Reading;
  readonly #axes: readonly string[];
  /** Axes, carriers and lets by name. */
  readonly names = new Map<string, Scalar>();
  readonly inputs: Ref[];

  constructor(cx: Reading, axes: readonly string[], inputs: Ref[]) {
    this.#cx = cx;
    this.#axes = axes;
    this.inputs = inputs;
    axes.forEach((axis, i) => this.names.set(axis, cx.arena.axis(i)));
  }

  axisNumber(): number {
    const name = this.#cx.r.word();
    const axis = this.#axes.indexOf(name);
    return axis < 0 ? this.#cx.r.fail(`there is no axis '${name}'`) : axis;
  }

  acceptLet(): boolean {
    const r: TextReader = this.#cx.r;
    if (!r.accept("let")) return false;
    const name = r.word();
    r.expect("=");
    this.names.set(name, this.scalar());
    return true;
  }

  scalar(): Scalar {
    const r: TextReader = this.#cx.r;
    const arena = this.#cx.arena;
    if (r.token.kind === "number") return this.#number();
    if (r.token.kind === "name") return this.#read();
    const word = r.word();
    if (word === "true" || word === "false") return arena.bool(word === "true");
    if (r.accept("[")) {
      const axes = r.list("]", () => this.axisNumber());
      r.expect("(");
      const arg = this.scalar();
      r.expect(")");
      return arena.reduce(word, axes, arg);
    }
    if (!r.accept("(")) return this.names.get(word) ?? r.fail(`there is no '${word}' in this body`);
    if (word === "dim") {
      const dim = parseSize(r.slice(")"));
      r.expect(")");
      return arena.dim(dim);
    }
    const args = r.list(")", () => this.scalar());
    const [arg] = args;
    const factor = /^scaled_(\w+)$/.exec(word)?.[1];
    if (factor !== undefined && isRounding(factor) && arg !== undefined)
      return arena.round(factor, arg, true);
    if (!isDType(word) && isRounding(word) && arg !== undefined) return arena.round(word, arg);
    if (!isDType(word)) return arena.apply(word, ...args);
    if (arg === undefined || args.length > 1) r.fail(`'${word}' takes one operand`);
    return arg.type === "f32" && (word === "f32" || scalarIsFloat(word))
      ? arena.round(word, arg)
      : arena.cast(word, arg);
  }

  #number(): Scalar {
    const r: TextReader = this.#cx.r;
    const arena = this.#cx.arena;
    const { text, end } = r.token;
    const value = r.number();
    // A suffix is a word that touches the number.
    const suffix = r.token.start === end ? r.token.text : "";
    if (suffix === "u" || suffix === "l") {
      r.next();
      return suffix === "u" ? arena.const("u32", value) : arena.const("i64", BigInt(text));
    }
    return /[.en]/.test(text) ? arena.f32(value) : arena.i32(value);
  }

  #read(): Scalar {
    const r: TextReader = this.#cx.r;
    const arena = this.#cx.arena;
    const tensor = parseRef(this.#cx);
    r.expect("[");
    const index = r.list("]", () => this.scalar());
    if (r.accept("else")) return arena.read(this.inputs, tensor, index, "else", this.scalar());
    return arena.read(this.inputs, tensor, index, r.accept("clamp") ? "clamp" : "proved");
  }
}

function scalarIsFloat(dtype: DType): boolean {
  return dtype === "f16" || dtype === "bf16" || dtype === "e4m3" || dtype === "e5m2";
}
