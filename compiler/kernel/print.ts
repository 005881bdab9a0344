/**
 * The kernel IR as text. Values, registers and buffers are numbered in order of appearance and carry their hints:
 * `%3_row`, `$0_acc`, `@1_y`, and `@m0_x` of a tensor map. A hint that is no word stands in quotes behind its definition.
 */
import { printFloat } from "../text.ts";
import { printDim } from "../types/dim-text.ts";
import type { Buffer, Kernel, Kind, Op, Operand, Register, TensorMap, Value } from "./ir.ts";
import { isAddress, isMap, isMatrix, isRegister } from "./walk.ts";

export function printKernel(kernel: Kernel): string {
  const cx = new PrintContext(kernel);
  const out: string[] = [];
  const [x, y, z] = kernel.grid;
  out.push(
    `kernel ${quote(kernel.name)} threads ${kernel.threads}${kernel.cluster === undefined ? "" : ` cluster ${kernel.cluster}`}${kernel.resident === undefined ? "" : ` resident ${kernel.resident}`} grid (${printDim(x)}, ${printDim(y)}, ${printDim(z)})`,
  );
  out.push(`  summary ${quote(kernel.summary)}`);
  for (const file of kernel.files) out.push(`  file ${quote(file)}`);
  for (const size of kernel.sizes) out.push(`  size ${quote(size.name)} = ${printDim(size.dim)}`);
  for (const buffer of kernel.buffers) out.push(`  ${printBuffer(buffer, cx)}`);
  for (const map of kernel.maps) out.push(`  ${printMap(map, cx)}`);
  out.push("{", ...printBody(kernel.body, cx, "  "), "}");
  return `${out.join("\n")}\n`;
}

function printBuffer(buffer: Buffer, cx: PrintContext): string {
  const parts = `${cx.buffer(buffer)}${named(buffer.name)}: ${buffer.dtype}[${printDim(buffer.length)}]`;
  const lanes = buffer.lanes === undefined ? "" : ` lanes ${buffer.lanes}`;
  const panel = buffer.panel === undefined ? "" : ` panel ${buffer.panel}`;
  if (buffer.space === "shared") return `shared ${parts} align ${buffer.align}${lanes}${panel}`;
  return `global ${parts} ${buffer.access} align ${buffer.align}${lanes}`;
}

function printMap(map: TensorMap, cx: PrintContext): string {
  const name = `${cx.map(map)}${named(map.name)} = ${cx.buffer(map.buffer)}`;
  const box = `[${map.box.join(", ")}]`;
  return `map ${name}: [${map.dims.map(printDim).join(", ")}] box ${box} swizzle ${map.swizzle}`;
}

function printBody(ops: readonly Op[], cx: PrintContext, indent: string): string[] {
  return ops.flatMap((op) => printOp(op, cx).map((line) => indent + line));
}

class PrintContext {
  readonly #values = new Map<Value, string>();
  readonly #registers = new Map<Register, string>();
  readonly #buffers: ReadonlyMap<Buffer, string>;
  readonly #maps: ReadonlyMap<TensorMap, string>;

  constructor(kernel: Kernel) {
    this.#buffers = new Map(kernel.buffers.map((buffer, k) => [buffer, `@${k}${suffix(buffer.name)}`]));
    this.#maps = new Map(kernel.maps.map((map, k) => [map, `@m${k}${suffix(map.name)}`]));
  }

  /** `%3_row`; a value or register not defined before prints as its hint and `?`, so that a broken kernel prints too. */
  use(value: Value): string {
    return this.#values.get(value) ?? `%?${value.hint}`;
  }

  /** `%3_row: i32`. */
  def(value: Value): string {
    const name = `%${this.#values.size}${suffix(value.hint)}`;
    this.#values.set(value, name);
    return `${name}${named(value.hint)}: ${value.type}`;
  }

  defs(values: readonly Value[]): string {
    return values.map((value) => this.def(value)).join(", ");
  }

  uses(values: readonly Value[]): string {
    return values.map((value) => this.use(value)).join(", ");
  }

  register(register: Register): string {
    return this.#registers.get(register) ?? `$?${register.hint}`;
  }

  newRegister(register: Register): string {
    const name = `$${this.#registers.size}${suffix(register.hint)}`;
    this.#registers.set(register, name);
    return `${name}${named(register.hint)}: ${register.type}`;
  }

  buffer(buffer: Buffer): string {
    return this.#buffers.get(buffer) ?? `@?${buffer.name}`;
  }

  map(map: TensorMap): string {
    return this.#maps.get(map) ?? `@m?${map.name}`;
  }
}

const plain = /^[A-Za-z0-9_]*$/;

function suffix(hint: string): string {
  return plain.test(hint) && hint !== "" ? `_${hint}` : "";
}

function named(hint: string): string {
  return plain.test(hint) ? "" : ` ${quote(hint)}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

type PrintTable = { readonly [K in Kind]: (op: Op<K>, cx: PrintContext) => string | readonly string[] };

const table: PrintTable = {
  const: (op, cx) =>
    `${cx.def(op.dst)} = const ${op.dst.type === "f32" ? printFloat(Number(op.value)) : String(op.value)}`,
  size: (op, cx) => `${cx.def(op.dst)} = size ${op.param}`,
  thread: (op, cx) => `${cx.def(op.dst)} = thread`,
  lane: (op, cx) => `${cx.def(op.dst)} = lane`,
  subgroup: (op, cx) => `${cx.def(op.dst)} = subgroup`,
  block: (op, cx) => `${cx.def(op.dst)} = block ${op.axis}`,
  unary: (op, cx) => assign(op.dst, `${op.fn} ${cx.use(op.a)}`, cx),
  binary: (op, cx) => assign(op.dst, `${op.fn} ${cx.uses([op.a, op.b])}`, cx),
  fma: (op, cx) => assign(op.dst, `fma ${cx.uses([op.a, op.b, op.c])}`, cx),
  select: (op, cx) => assign(op.dst, `select ${cx.uses([op.condition, op.a, op.b])}`, cx),
  convert: (op, cx) =>
    assign(op.dst, `convert ${cx.use(op.a)}${op.storage === undefined ? "" : ` as ${op.storage}`}`, cx),
  bitcast: (op, cx) => assign(op.dst, `bitcast ${cx.use(op.a)}`, cx),
  pack: (op, cx) => assign(op.dst, `pack ${cx.uses(op.parts)}`, cx),
  unpack: (op, cx) => {
    const a = cx.use(op.a);
    return `${cx.defs(op.dst)} = unpack ${a}`;
  },
  var: (op, cx) => {
    const init = op.init === undefined ? "" : ` = ${cx.use(op.init)}`;
    return `var ${cx.newRegister(op.register)}${init}`;
  },
  get: (op, cx) => `${cx.def(op.dst)} = get ${cx.register(op.register)}`,
  set: (op, cx) => `set ${cx.register(op.register)} = ${cx.use(op.value)}`,
  load: (op, cx) => {
    const from = `load ${cx.buffer(op.buffer)}[${cx.use(op.index)}]${guard(op.guard, cx)}`;
    const rest = op.otherwise === undefined ? "" : ` else ${cx.use(op.otherwise)}`;
    return `${cx.defs(op.dst)} = ${from}${rest}`;
  },
  store: (op, cx) =>
    `store ${cx.buffer(op.buffer)}[${cx.use(op.index)}] = ${cx.uses(op.values)}${guard(op.guard, cx)}`,
  atomic: (op, cx) =>
    `atomic ${op.fn} ${cx.buffer(op.buffer)}[${cx.use(op.index)}] = ${cx.use(op.value)}${guard(op.guard, cx)}`,
  barrier: ({ group }) => (group === undefined ? "barrier" : `barrier ${group.first} of ${group.threads}`),
  "shuffle-xor": (op, cx) => assign(op.dst, `shuffle-xor ${cx.use(op.value)}, ${op.mask}`, cx),
  "shuffle-index": (op, cx) => assign(op.dst, `shuffle-index ${cx.uses([op.value, op.lane])}`, cx),
  instruction: (op, cx) => {
    const operands = op.operands.map((operand) => printOperand(operand, cx)).join(", ");
    const results = op.dst.map((dst) => (isRegister(dst) ? cx.register(dst) : cx.def(dst))).join(", ");
    return `${results === "" ? "" : `${results} = `}instruction ${quote(op.name)} (${operands})`;
  },
  descriptor: (op, cx) => {
    const layout = `leading ${op.leading} stride ${op.stride} swizzle ${op.swizzle}`;
    return assign(op.dst, `descriptor ${cx.buffer(op.buffer)}[${cx.use(op.index)}] ${layout}`, cx);
  },
  roles: (op, cx) => {
    const roles = op.roles.flatMap(({ name, threads, body }) => [
      `  role ${name === "" || !plain.test(name) ? quote(name) : name} ${threads} {`,
      ...printBody(body, cx, "    "),
      "  }",
    ]);
    return ["roles {", ...roles, "}"];
  },
  for: (op, cx) => {
    const bounds = `${cx.use(op.from)} to ${cx.use(op.to)} step ${op.step}${op.unroll ? " unroll" : ""}`;
    return [`for ${cx.def(op.index)} = ${bounds} {`, ...printBody(op.body, cx, "  "), "}"];
  },
  if: (op, cx) => {
    const head = [`if ${cx.use(op.condition)} {`, ...printBody(op.then, cx, "  ")];
    return op.else.length === 0
      ? [...head, "}"]
      : [...head, "} else {", ...printBody(op.else, cx, "  "), "}"];
  },
  line: (op) => `line ${op.file} ${op.line} ${op.column}`,
  comment: (op) => `comment ${quote(op.text)}`,
};

function printOp<K extends Kind>(op: Op<K>, cx: PrintContext): readonly string[] {
  const printed = table[op.kind](op, cx);
  return typeof printed === "string" ? [printed] : printed;
}

/** The operands are printed before the value is defined, so their text comes first. */
function assign(dst: Value, text: string, cx: PrintContext): string {
  return `${cx.def(dst)} = ${text}`;
}

function guard(condition: Value | undefined, cx: PrintContext): string {
  return condition === undefined ? "" : ` if ${cx.use(condition)}`;
}

function printOperand(operand: Operand, cx: PrintContext): string {
  if (isMap(operand)) return cx.map(operand.map);
  if (isMatrix(operand)) {
    const place = `${cx.buffer(operand.matrix)}[${cx.use(operand.panel)}]`;
    return `matrix ${place} offset ${operand.offset} stride ${operand.stride}`;
  }
  return isAddress(operand) ? `${cx.buffer(operand.buffer)}[${cx.use(operand.index)}]` : cx.use(operand);
}
