/** How the ops of a kernel are printed in C-like languages, one row a kind; how their parts are spelled is the dialect's. */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { Op, Value } from "../../kernel/ir.ts";
import { oneLine } from "../writer.ts";
import { conditional, primary, type Expr } from "./expression.ts";
import { touchesMemory, type OpTable, type Printer, type Reads } from "./printer.ts";

/** What all C-like targets share; a target spreads it and overrides rows. */
export const opTable: OpTable = {
  const: (op, cx) => cx.settle(op.dst, cx.dialect.literal(cx, op.dst.type, op.value)),
  size: (op, cx) => cx.settle(op.dst, cx.dialect.size(cx, op.param)),
  thread: (op, cx) => cx.settle(op.dst, cx.dialect.thread(cx)),
  lane: (op, cx) => cx.settle(op.dst, cx.dialect.lane(cx)),
  subgroup: (op, cx) => cx.settle(op.dst, cx.dialect.subgroup(cx)),
  block: (op, cx) => cx.settle(op.dst, cx.dialect.block(cx, op.axis)),
  unary: (op, cx) =>
    cx.define(op.dst, () => cx.dialect.unary(cx, op.fn, op.a.type, cx.expr(op.a)), [op.a], "own"),
  binary: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.binary(cx, op.fn, op.a.type, cx.expr(op.a), cx.expr(op.b)),
      [op.a, op.b],
      "own",
    ),
  fma: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.fma(cx, op.dst.type, cx.expr(op.a), cx.expr(op.b), cx.expr(op.c)),
      [op.a, op.b, op.c],
      "own",
    ),
  select: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.select(cx, cx.expr(op.condition), cx.expr(op.a), cx.expr(op.b)),
      [op.condition, op.a, op.b],
      "own",
    ),
  convert: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.convert(cx, op.a.type, op.dst.type, op.storage, cx.expr(op.a)),
      [op.a],
      "inherited",
    ),
  bitcast: (op, cx) =>
    cx.define(op.dst, () => cx.dialect.bitcast(cx, op.a.type, op.dst.type, cx.expr(op.a)), [op.a], "own"),
  pack: (op, cx) => {
    const type = op.parts[0]?.type ?? "f16";
    cx.define(
      op.dst,
      () =>
        cx.dialect.pack(
          cx,
          op.parts.map((part) => cx.expr(part)),
          type,
        ),
      op.parts,
      "own",
    );
  },
  unpack: printUnpack,
  var: printVar,
  get: (op, cx) => {
    const reads: Reads = { registers: new Set([op.register]), memory: false };
    cx.define(op.dst, () => primary(cx.register(op.register)), [], "inherited", reads);
  },
  set: (op, cx) => {
    const e = cx.expr(op.value);
    cx.flush({ registers: new Set([op.register]), memory: false });
    cx.out.line(cx.dialect.assign(op.register.type, cx.register(op.register), e));
  },
  load: printLoad,
  store: printStore,
  atomic: printAtomic,
  barrier: (op, cx) => {
    if (op.group !== undefined) refuse(op, cx);
    cx.flush(touchesMemory);
    cx.out.line(cx.dialect.barrier);
  },
  // A shuffle stays where it is: it means something to all lanes at once.
  "shuffle-xor": (op, cx) =>
    cx.declareUsed(op.dst, cx.dialect.shuffleXor(cx, op.value, cx.expr(op.value), op.mask)),
  "shuffle-index": (op, cx) =>
    cx.declareUsed(op.dst, cx.dialect.shuffleIndex(cx, op.value, cx.expr(op.value), cx.expr(op.lane))),
  instruction: (op, cx) => cx.dialect.instruction(cx, op),
  descriptor: refuse,
  roles: refuse,
  for: printFor,
  if: printIf,
  line: (op, cx) => cx.out.at(`${cx.kernel.files[op.file] ?? ""}:${op.line}:${op.column}`),
  comment: (op, cx) => cx.out.line(`// ${oneLine(op.text)}`),
};

/** What only some targets have; those bring rows of their own. */
function refuse(op: Op, cx: Printer): never {
  throw new InternalError(`${cx.kernel.name}: this target has no ${op.kind} of threads or memory in parts`);
}

function printUnpack(op: Op<"unpack">, cx: Printer): void {
  const whole = cx.names.fresh(op.a.hint === "" ? "packed" : op.a.hint);
  cx.out.line(cx.dialect.declare(op.a.type, whole, cx.expr(op.a)));
  op.dst.forEach((dst, part) => {
    cx.declareUsed(dst, cx.dialect.unpack(cx, primary(whole), part, dst.type));
  });
}

function printVar(op: Op<"var">, cx: Printer): void {
  const e = op.init === undefined ? undefined : cx.expr(op.init);
  cx.out.line(cx.dialect.declareVariable(op.register.type, cx.newRegister(op.register), e));
}

/** An index that is used several times, under a name unless it is one already. */
function repeated(cx: Printer, index: Value): Expr {
  const e = cx.expr(index);
  if (/^[A-Za-z0-9_]+$/.test(e.text)) return e;
  const name = cx.names.fresh(index.hint === "" ? "at" : index.hint);
  cx.out.line(cx.dialect.declare(index.type, name, e));
  return primary(name);
}

function printLoad(op: Op<"load">, cx: Printer): void {
  if (op.dst.length === 1) printLoadOne(op, cx);
  else printLoadWide(op, cx);
}

function printLoadWide(op: Op<"load">, cx: Printer): void {
  const { dialect } = cx;
  const index = repeated(cx, op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const element = (k: number): Expr => dialect.element(cx, op.buffer, dialect.offset(index, k));
  if (guard === undefined) {
    op.dst.forEach((dst, k) => cx.declareUsed(dst, element(k)));
    return;
  }
  if (op.otherwise !== undefined) cx.hold(op.otherwise);
  const names = op.dst.map((dst) => declareOtherwise(op, dst, cx));
  cx.out.block(`if (${guard.text})`, () => {
    op.dst.forEach((dst, k) => cx.out.line(dialect.assign(dst.type, names[k] ?? "", element(k))));
  });
}

function printLoadOne(op: Op<"load">, cx: Printer): void {
  const { dialect } = cx;
  const { guard } = op;
  const [dst] = op.dst;
  invariant(dst !== undefined, "a load defines something");
  if (guard === undefined) {
    cx.define(
      dst,
      () => dialect.element(cx, op.buffer, cx.expr(op.index)),
      [op.index],
      "inherited",
      touchesMemory,
    );
    return;
  }
  if (dialect.conditionalExpression) {
    const operands = op.otherwise === undefined ? [guard, op.index] : [guard, op.index, op.otherwise];
    const make = (): Expr =>
      conditional(cx.expr(guard), dialect.element(cx, op.buffer, cx.expr(op.index)), otherwise(op, dst, cx));
    cx.define(dst, make, operands, "inherited", touchesMemory);
    return;
  }
  const condition = cx.expr(guard);
  const index = cx.expr(op.index);
  const name = declareOtherwise(op, dst, cx);
  cx.out.block(`if (${condition.text})`, () =>
    cx.out.line(dialect.assign(dst.type, name, dialect.element(cx, op.buffer, index))),
  );
}

function otherwise(op: Op<"load">, dst: Value, cx: Printer): Expr {
  return op.otherwise === undefined
    ? cx.dialect.literal(cx, dst.type, dst.type === "i64" ? 0n : dst.type === "bool" ? false : 0)
    : cx.expr(op.otherwise);
}

function declareOtherwise(op: Op<"load">, dst: Value, cx: Printer): string {
  const e = otherwise(op, dst, cx);
  const name = cx.name(dst);
  cx.out.line(cx.dialect.declareVariable(dst.type, name, e));
  return name;
}

function printStore(op: Op<"store">, cx: Printer): void {
  const index = op.values.length === 1 ? cx.expr(op.index) : repeated(cx, op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const statements = op.values.map((value, k) =>
    cx.dialect.storeElement(cx, op.buffer, k === 0 ? index : cx.dialect.offset(index, k), cx.expr(value)),
  );
  guarded(cx, guard, statements);
}

function printAtomic(op: Op<"atomic">, cx: Printer): void {
  const index = cx.expr(op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  guarded(cx, guard, [cx.dialect.atomic(cx, op, index, cx.expr(op.value))]);
}

function guarded(cx: Printer, guard: Expr | undefined, statements: readonly string[]): void {
  cx.flush(touchesMemory);
  const print = (): void => {
    for (const statement of statements) cx.out.line(statement);
  };
  if (guard === undefined) print();
  else cx.out.block(`if (${guard.text})`, print);
}

function printFor(op: Op<"for">, cx: Printer): void {
  const from = cx.expr(op.from);
  const to = cx.expr(op.to);
  cx.flushFor([op.body]);
  const index = cx.name(op.index);
  cx.out.block(cx.dialect.forLoop(op, index, from, to), () => cx.nested(op.body));
}

function printIf(op: Op<"if">, cx: Printer): void {
  const condition = cx.expr(op.condition);
  cx.flushFor([op.then, op.else]);
  if (op.then.length === 0) {
    cx.out.block(`if (!(${condition.text}))`, () => cx.nested(op.else));
    return;
  }
  if (op.else.length === 0) {
    cx.out.block(`if (${condition.text})`, () => cx.nested(op.then));
    return;
  }
  cx.out.block(`if (${condition.text})`, () => cx.nested(op.then), "} else {");
  cx.out.indented(() => cx.nested(op.else));
  cx.out.line("}");
}
