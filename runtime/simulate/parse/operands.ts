/** Operands of an instruction (PTX ISA 6): names, constants, vectors, pairs and addresses. */
import type { Operand } from "./syntax.ts";
import type { Token } from "./tokens.ts";

/** The part of the parser that operands need. */
export interface Cursor {
  peek(ahead?: number): Token;
  take(): Token;
  accept(text: string): boolean;
  expect(text: string): Token;
  fail(message: string, token?: Token): never;
}

const scratch = new DataView(new ArrayBuffer(8));

function constant(text: string): Operand | undefined {
  if (/^0[fF]/.test(text)) {
    scratch.setUint32(0, Number.parseInt(text.slice(2), 16));
    return { kind: "float", value: scratch.getFloat32(0), bits: 32 };
  }
  if (/^0[dD]/.test(text)) {
    scratch.setBigUint64(0, BigInt(`0x${text.slice(2)}`));
    return { kind: "float", value: scratch.getFloat64(0), bits: 64 };
  }
  if (/[.eE]/.test(text) && !/^0[xX]/.test(text)) return { kind: "float", value: Number(text), bits: 64 };
  const digits = text.replace(/U$/, "");
  return { kind: "integer", value: BigInt(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits) };
}

function primary(at: Cursor): Operand {
  const token = at.take();
  if (token.kind === "number")
    return constant(token.text) ?? at.fail(`I cannot read the number ${token.text}`, token);
  if (token.text === "-") {
    const value = primary(at);
    if (value.kind === "integer") return { kind: "integer", value: -value.value };
    if (value.kind === "float") return { ...value, value: -value.value };
  }
  if (token.text === "~") {
    const value = primary(at);
    if (value.kind === "integer") return { kind: "integer", value: ~value.value };
  }
  if (token.text === "(") {
    const value = parseOperand(at);
    at.expect(")");
    return value;
  }
  if (token.text === "!" && at.peek().kind === "word")
    return { kind: "name", name: at.take().text, negated: true };
  if (token.text === "_") return { kind: "sink" };
  if (token.kind === "word") return { kind: "name", name: token.text, negated: false };
  return at.fail(`I expected an operand and found "${token.text}"`, token);
}

/** `+n`, `-n`, any number of them, none too. */
function offsetOf(at: Cursor): number {
  let offset = 0;
  while (at.peek().text === "+" || at.peek().text === "-") {
    const sign = at.take().text === "+" ? 1 : -1;
    const value = primary(at);
    if (value.kind !== "integer") at.fail("I expected an integer offset");
    offset += sign * Number(BigInt.asIntN(32, value.value));
  }
  return offset;
}

/** `base`, `base+n`, `base, {coordinates}` between brackets. */
function address(at: Cursor): Operand {
  const base = primary(at);
  const offset = offsetOf(at);
  const coordinates = at.accept(",") ? parseOperand(at) : undefined;
  at.expect("]");
  return { kind: "address", base, offset, coordinates };
}

export function parseOperand(at: Cursor): Operand {
  if (at.accept("[")) return address(at);
  if (at.accept("{")) {
    const items: Operand[] = [];
    while (!at.accept("}")) {
      items.push(parseOperand(at));
      at.accept(",");
    }
    return { kind: "vector", items };
  }
  const first = primary(at);
  if (at.accept("|")) return { kind: "pair", first, second: primary(at) };
  // The address of a variable, and bytes beyond it.
  const offset = first.kind === "name" ? offsetOf(at) : 0;
  return offset === 0 ? first : { kind: "beyond", base: first, offset };
}
