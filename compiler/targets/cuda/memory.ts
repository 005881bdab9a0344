/** Wide accesses: one vector of C++ at a time, its elements taken apart where they are narrower than 32 bits. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Op, Value } from "../../kernel/ir.ts";
import { call, conditional, indexed, primary, type Expr } from "../c/expression.ts";
import { opTable } from "../c/op-table.ts";
import { touchesMemory, type Printer } from "../c/printer.ts";
import { bytesOf, literal, partOf } from "./dialect.ts";

interface Vector {
  /** `uint4`, `float2`; `unsigned` for a single word. */
  readonly type: string;
  readonly words: number;
  /** Elements in a word. */
  readonly parts: number;
}

const fields = ["x", "y", "z", "w"] as const;

/** Undefined where the access is one element, or two bytes, which are as well moved one by one. */
function vectorOf(elements: readonly Value[], bytes: number): Vector | undefined {
  const total = elements.length * bytes;
  const [first] = elements;
  if (first === undefined || elements.length === 1 || total < 4 || first.type === "bool") return undefined;
  if (bytes === 8) return { type: "longlong2", words: 2, parts: 1 };
  const word = first.type === "f32" ? "float" : first.type === "i32" ? "int" : "uint";
  const words = total / 4;
  return { type: words === 1 ? "unsigned" : `${word}${words}`, words, parts: 4 / bytes };
}

function wordOf(vector: Vector, name: string, word: number): Expr {
  return primary(vector.words === 1 ? name : `${name}.${fields[word] ?? ""}`);
}

export function printLoad(op: Op<"load">, cx: Printer): void {
  const vector = vectorOf(op.dst, bytesOf(op.buffer.dtype));
  if (vector === undefined) {
    if (op.dst.length === 1) opTable.load(op, cx);
    else printSingly(op, cx);
    return;
  }
  const place = indexed(cx.buffer(op.buffer), cx.expr(op.index)).text;
  const guard = op.guard === undefined ? undefined : cx.hold(op.guard);
  if (op.otherwise !== undefined) cx.hold(op.otherwise);
  const read = primary(`*reinterpret_cast<const ${vector.type}*>(&${place})`);
  const name = cx.names.fresh(`${op.dst[0]?.hint ?? "loaded"}_v`);
  const zeros =
    vector.words === 1
      ? primary("0u")
      : call(`make_${vector.type}`, ...Array.from({ length: vector.words }, () => primary(zeroOf(vector))));
  cx.out.line(
    `const ${vector.type} ${name} = ${guard === undefined ? read.text : conditional(guard, read, zeros).text};`,
  );
  for (const [i, dst] of op.dst.entries()) {
    const word = wordOf(vector, name, Math.floor(i / vector.parts));
    const element = (): Expr => (vector.parts === 1 ? word : partOf(cx, word, i % vector.parts, dst.type));
    const { otherwise } = op;
    // Parts of the vector, which does not change: they may stand inside of their users.
    if (guard === undefined || otherwise === undefined) cx.define(dst, element, [], "inherited");
    else cx.define(dst, () => conditional(guard, element(), cx.expr(otherwise)), [], "inherited");
  }
}

/** Element by element, each a value of its own. */
function printSingly(op: Op<"load">, cx: Printer): void {
  const index = cx.hold(op.index);
  const guard = op.guard === undefined ? undefined : cx.hold(op.guard);
  if (op.otherwise !== undefined) cx.hold(op.otherwise);
  for (const [i, dst] of op.dst.entries()) {
    const make = (): Expr => {
      const element = cx.dialect.element(cx, op.buffer, cx.dialect.offset(index, i));
      if (guard === undefined) return element;
      return conditional(
        guard,
        element,
        op.otherwise === undefined
          ? literal(dst.type, dst.type === "bool" ? false : 0)
          : cx.expr(op.otherwise),
      );
    };
    cx.define(dst, make, [], "inherited", touchesMemory);
  }
}

function zeroOf(vector: Vector): string {
  switch (vector.type.replace(/[0-9]/, "")) {
    case "float":
      return literal("f32", 0).text;
    case "uint":
      return "0u";
    case "longlong":
      return "0ll";
    default:
      return "0";
  }
}

export function printStore(op: Op<"store">, cx: Printer): void {
  const vector = vectorOf(op.values, bytesOf(op.buffer.dtype));
  if (vector === undefined) {
    opTable.store(op, cx);
    return;
  }
  const place = indexed(cx.buffer(op.buffer), cx.expr(op.index)).text;
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const elements = op.values.map((value) => cx.expr(value));
  const words = Array.from({ length: vector.words }, (_, i) =>
    joined(op, vector, elements.slice(i * vector.parts, (i + 1) * vector.parts), cx),
  );
  cx.flush(touchesMemory);
  const [only] = words;
  invariant(only !== undefined, "a store of something");
  const whole = vector.words === 1 ? only : call(`make_${vector.type}`, ...words);
  const statement = `*reinterpret_cast<${vector.type}*>(&${place}) = ${whole.text};`;
  if (guard === undefined) cx.out.line(statement);
  else cx.out.block(`if (${guard.text})`, () => cx.out.line(statement));
}

function joined(op: Op<"store">, vector: Vector, elements: readonly Expr[], cx: Printer): Expr {
  const [only] = elements;
  invariant(only !== undefined, "a word of something");
  if (vector.parts === 1) return only;
  return call(cx.use(op.values[0]?.type === "b8" ? "pack_bytes" : "pack_halves"), ...elements);
}
