/** Variables, control flow, and what threads do together. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { ptxInstructionOf } from "../../kernel/instructions.ts";
import type { Op, Value } from "../../kernel/ir.ts";
import { isAddress, isMap, isMatrix, isRegister } from "../../kernel/walk.ts";
import type { Context } from "./context.ts";
import { arithmeticType, classOf } from "./registers.ts";

/** Emits a body; handed in, since bodies hold all kinds of op. */
export type EmitBody = (ops: readonly Op[], cx: Context) => void;

/** A register that is set before it is read needs no instruction: its first write defines it. */
export function emitVar(op: Op<"var">, cx: Context): void {
  if (op.init === undefined) return;
  const init = cx.use(op.init);
  cx.instruction(`mov.${classOf(op.register.type)} ${cx.variable(op.register)}, ${init}`);
}

export function emitGet(op: Op<"get">, cx: Context): void {
  const dst = cx.define(op.dst);
  if (!cx.isInPlace(op.dst, op.register))
    cx.instruction(`mov.${classOf(op.dst.type)} ${dst}, ${cx.variable(op.register)}`);
}

export function emitSet(op: Op<"set">, cx: Context): void {
  if (cx.isInPlace(op.value, op.register)) return;
  const value = cx.use(op.value);
  cx.instruction(`mov.${classOf(op.register.type)} ${cx.variable(op.register)}, ${value}`);
}

/** Tested at the top once and at the bottom each time, so that a trip costs one branch. */
export function emitFor(op: Op<"for">, cx: Context, body: EmitBody): void {
  const type = arithmeticType(op.index.type);
  const [from, to] = [cx.use(op.from), cx.use(op.to)];
  const index = cx.define(op.index);
  const stem = op.index.hint === "" ? "for" : op.index.hint;
  const [loop, end] = [cx.newLabel(`${stem}_loop`), cx.newLabel(`${stem}_end`)];
  cx.instruction(`mov.${classOf(op.index.type)} ${index}, ${from}`);
  const mayBeEmpty = !cx.runsAtLeastOnce(op);
  if (mayBeEmpty) {
    const isDone = cx.temporary("pred", `${stem}_done`);
    cx.instruction(`setp.ge.${type} ${isDone}, ${index}, ${to}`);
    cx.instruction(`@${isDone} bra ${end}`);
  }
  cx.label(loop);
  // A label's pragma governs the loop that begins there (PTX ISA 11.3.2, "nounroll").
  if (!op.unroll) cx.instruction(`.pragma "nounroll"`);
  cx.scoped(() => body(op.body, cx));
  const isMore = cx.temporary("pred", `${stem}_more`);
  cx.instruction(`add.${type} ${index}, ${index}, ${op.step}`);
  cx.instruction(`setp.lt.${type} ${isMore}, ${index}, ${to}`);
  cx.instruction(`@${isMore} bra ${loop}`);
  if (mayBeEmpty) cx.label(end);
}

export function emitIf(op: Op<"if">, cx: Context, body: EmitBody): void {
  const condition = cx.register(op.condition);
  const stem = op.condition.hint === "" ? "if" : op.condition.hint;
  const hasElse = op.else.length > 0;
  const end = cx.newLabel(`${stem}_end`);
  const otherwise = hasElse ? cx.newLabel(`${stem}_else`) : end;
  cx.instruction(`@!${condition} bra ${otherwise}`);
  cx.scoped(() => body(op.then, cx));
  if (hasElse) {
    cx.instruction(`bra ${end}`);
    cx.label(otherwise);
    cx.scoped(() => body(op.else, cx));
  }
  cx.label(end);
}

const allLanes = "0xffffffff";

export function emitShuffleXor(op: Op<"shuffle-xor">, cx: Context): void {
  shuffle(cx, op.value, op.dst, `bfly`, String(op.mask));
}

export function emitShuffleIndex(op: Op<"shuffle-index">, cx: Context): void {
  shuffle(cx, op.value, op.dst, "idx", cx.use(op.lane));
}

/** Only 32 bits move at once: narrower values are widened, i64 goes in halves. */
function shuffle(cx: Context, value: Value, dst: Value, mode: "bfly" | "idx", lane: string): void {
  const source = cx.register(value);
  const move = (to: string, from: string): void =>
    cx.instruction(`shfl.sync.${mode}.b32 ${to}, ${from}, ${lane}, 31, ${allLanes}`);
  const type = classOf(value.type);
  if (type === "b32" || type === "f32") {
    move(cx.define(dst), source);
    return;
  }
  if (type === "b64") {
    const [low, high, lowHere, highHere] = [
      cx.temporary("b32", "low"),
      cx.temporary("b32", "high"),
      cx.temporary("b32", "low"),
      cx.temporary("b32", "high"),
    ];
    cx.instruction(`mov.b64 {${low}, ${high}}, ${source}`);
    move(lowHere, low);
    move(highHere, high);
    cx.instruction(`mov.b64 ${cx.define(dst)}, {${lowHere}, ${highHere}}`);
    return;
  }
  const [sent, received] = [cx.temporary("b32", "sent"), cx.temporary("b32", "received")];
  cx.instruction(type === "pred" ? `selp.b32 ${sent}, 1, 0, ${source}` : `cvt.u32.u16 ${sent}, ${source}`);
  move(received, sent);
  cx.instruction(
    type === "pred"
      ? `setp.ne.b32 ${cx.define(dst)}, ${received}, 0`
      : `cvt.u16.u32 ${cx.define(dst)}, ${received}`,
  );
}

export function emitInstruction(op: Op<"instruction">, cx: Context): void {
  const record = ptxInstructionOf(op.name);
  invariant(cx.caps.instructions.includes(op.name), `${cx.caps.target} has no ${op.name}`);
  const operands = op.operands.map((operand) => {
    if (isMap(operand)) return cx.map(operand.map);
    if (isAddress(operand)) return cx.address(operand.buffer, operand.index);
    invariant(!isMatrix(operand), `PTX has no ${op.name}`);
    return operand.type === "i32" ? cx.use(operand) : cx.register(operand);
  });
  const dst = op.dst.map((target) => (isRegister(target) ? cx.variable(target) : cx.define(target)));
  emitText(record.ptx(dst, operands), cx);
}

/** One instruction, or several in a scope of their own, each on its line. */
function emitText(text: string, cx: Context): void {
  if (!text.startsWith("{")) {
    cx.instruction(text);
    return;
  }
  for (const line of text.split(/(?<=[{;:])\s+/)) cx.comment(line);
}
