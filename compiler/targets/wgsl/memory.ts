/**
 * Loads and stores in WGSL, and matrices in shared memory. An array may be one of vectors (`lanes`), of which an
 * access takes whole ones, and of panels, each an array by itself.
 */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import { instructionOf, type WgslOperand } from "../../kernel/instructions.ts";
import type { Buffer, Op, Operand, Value } from "../../kernel/ir.ts";
import { isAddress, isMap, isMatrix, isRegister } from "../../kernel/walk.ts";
import { dtypes } from "../../types/dtype.ts";
import { indexed, infix, primary, type Expr } from "../c/expression.ts";
import { opTable } from "../c/op-table.ts";
import { touchesMemory, type OpTable, type Printer } from "../c/printer.ts";
import { typeName } from "./types.ts";

const parts = ["x", "y", "z", "w"] as const;

/** Elements of the array's own element. */
export function lanesOf(buffer: Buffer): number {
  return buffer.lanes ?? 1;
}

/** `array<vec4<u32>, 64>`'s element. */
export function elementText(buffer: Buffer): string {
  const { dtype } = buffer;
  invariant(
    dtype === "f32" || dtype === "i32" || dtype === "u32" || dtype === "f16",
    `wgsl has no arrays of ${dtype}: legalize packs them`,
  );
  const lanes = lanesOf(buffer);
  return lanes === 1 ? typeName(dtype) : `vec${lanes}<${typeName(dtype)}>`;
}

/** An array's element; `index` counts elements of the array as it is declared. */
export function place(name: string, buffer: Buffer, index: Expr): Expr {
  if (buffer.panel === undefined) return indexed(name, index);
  const panel = primary(String(buffer.panel / lanesOf(buffer)));
  return indexed(indexed(name, infix("/", index, panel)).text, infix("%", index, panel));
}

/** The rows of the common table that differ: what goes by vectors. */
export const memoryTable: Pick<OpTable, "load" | "store"> = {
  load: (op, cx) => (lanesOf(op.buffer) === 1 ? opTable.load(op, cx) : loadVectors(op, cx)),
  store: (op, cx) => (lanesOf(op.buffer) === 1 ? opTable.store(op, cx) : storeVectors(op, cx)),
};

function vectorIndex(op: Op<"load"> | Op<"store">, cx: Printer): (k: number) => Expr {
  const lanes = lanesOf(op.buffer);
  const first = infix(">>", cx.expr(op.index), primary(`${Math.log2(lanes)}u`));
  const count = (op.kind === "load" ? op.dst : op.values).length / lanes;
  invariant(Number.isInteger(count), "an access takes whole vectors");
  if (count === 1) return () => first;
  const name = cx.names.fresh("vector");
  cx.out.line(cx.dialect.declare(op.index.type, name, first));
  return (k) => cx.dialect.offset(primary(name), k);
}

function loadVectors(op: Op<"load">, cx: Printer): void {
  const lanes = lanesOf(op.buffer);
  const at = vectorIndex(op, cx);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const other = op.otherwise === undefined ? "" : cx.hold(op.otherwise).text;
  const names: string[] = [];
  const reads: string[] = [];
  for (let first = 0; first < op.dst.length; first += lanes) {
    const hint = op.dst[first]?.hint ?? "";
    const name = cx.names.fresh(hint === "" ? op.buffer.name : hint);
    const read = place(cx.buffer(op.buffer), op.buffer, at(first / lanes)).text;
    names.push(name);
    if (guard === undefined) cx.out.line(`let ${name} = ${read};`);
    else cx.out.line(`var ${name} = ${elementText(op.buffer)}(${other});`);
    reads.push(`${name} = ${read};`);
  }
  if (guard !== undefined) {
    cx.out.block(`if (${guard.text})`, () => {
      for (const read of reads) cx.out.line(read);
    });
  }
  op.dst.forEach((dst, k) =>
    cx.settle(dst, primary(`${names[Math.floor(k / lanes)] ?? ""}.${parts[k % lanes] ?? ""}`)),
  );
}

function storeVectors(op: Op<"store">, cx: Printer): void {
  const lanes = lanesOf(op.buffer);
  const at = vectorIndex(op, cx);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const statements: string[] = [];
  for (let first = 0; first < op.values.length; first += lanes) {
    const value = vectorText(op.buffer, op.values.slice(first, first + lanes), cx);
    statements.push(`${place(cx.buffer(op.buffer), op.buffer, at(first / lanes)).text} = ${value};`);
  }
  cx.flush(touchesMemory);
  const print = (): void => {
    for (const statement of statements) cx.out.line(statement);
  };
  if (guard === undefined) print();
  else cx.out.block(`if (${guard.text})`, print);
}

/** Parts of a vector that was loaded, in its order, are that vector. */
function vectorText(buffer: Buffer, values: readonly Value[], cx: Printer): string {
  const texts = values.map((value) => cx.expr(value).text);
  const [whole = ""] = texts[0]?.split(".") ?? [];
  const isWhole =
    /^[a-z]\w*$/i.test(whole) && texts.every((text, k) => text === `${whole}.${parts[k] ?? ""}`);
  return isWhole ? whole : `${elementText(buffer)}(${texts.join(", ")})`;
}

/** A statement of the record's; a defined result is a name of its own. */
export function printInstruction(cx: Printer, op: Op<"instruction">): void {
  const { wgsl, matrixBytes = 1 } = instructionOf(op.name);
  if (wgsl === undefined) throw new InternalError(`wgsl has no instruction ${op.name}`);
  const operands = op.operands.map((operand) => operandText(cx, operand, matrixBytes));
  cx.flush({ ...touchesMemory, registers: new Set(op.dst.filter(isRegister)) });
  const dst = op.dst.map((target) => (isRegister(target) ? cx.register(target) : cx.name(target)));
  cx.out.line(wgsl(dst, operands));
}

function operandText(cx: Printer, operand: Operand, matrixBytes: number): WgslOperand {
  if (!isMatrix(operand)) {
    invariant(!isMap(operand) && !isAddress(operand), "wgsl's instructions take values and matrices");
    return { text: cx.expr(operand).text, offset: "", stride: "" };
  }
  const { matrix, panel, offset, stride } = operand;
  const perElement = (dtypes[matrix.dtype].bytes * lanesOf(matrix)) / matrixBytes;
  const elements = (count: number): string => {
    invariant(count % perElement === 0, `${matrix.name} is addressed by whole elements`);
    return `${count / perElement}u`;
  };
  return {
    text: `&${indexed(cx.buffer(matrix), cx.expr(panel)).text}`,
    offset: elements(offset),
    stride: elements(stride),
  };
}
