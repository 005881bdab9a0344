/** State of one kernel's emission: lines, names, and which register holds what. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Caps, Kernel, Op, Register, TensorMap, Value } from "../../kernel/ir.ts";
import { mayBeginEarly } from "../../kernel/passes/dependents.ts";
import type { ScalarValue } from "../../kernel/scalar.ts";
import { isAddress, partsOf, visitOps } from "../../kernel/walk.ts";
import { isPositive } from "../../types/dim.ts";
import { Names, Writer } from "../writer.ts";
import { inPlaceValues } from "./in-place.ts";
import { convertedPairs, type ConvertedPair } from "./converted-pairs.ts";
import {
  bytesOf,
  classOf,
  immediate,
  type RegisterClass,
  registerClasses,
  specialRegisters,
} from "./registers.ts";

/** Byte offsets that an address takes as an immediate: what the machine's own loads have (24 bits, signed). */
const offsetLimit = 2 ** 23;

/** Bytes that a matrix descriptor counts addresses in. */
export const descriptorUnit = 16;

export interface ThreadRange {
  readonly first: number;
  readonly count: number;
}

export class Context {
  readonly out: Writer = new Writer("");
  readonly kernel: Kernel;
  readonly caps: Caps;
  /** Before the launch ahead has ended. */
  readonly beginsEarly: boolean;
  readonly #files: readonly string[];
  readonly #registers: Names = new Names(specialRegisters);
  readonly #labels: Names = new Names([]);
  readonly #declared = new Map<RegisterClass, string[]>(registerClasses.map((name) => [name, []]));
  readonly #values = new Map<Value, string>();
  readonly #variables = new Map<number, string>();
  readonly #pointers = new Map<Buffer, string>();
  readonly #maps = new Map<TensorMap, string>();
  readonly #sizes: string[] = [];
  readonly #arrays = new Map<Buffer, string>();
  /** Parameters and arrays: PTX keeps them in one scope. */
  readonly #symbols: Names = new Names(["shared_memory"]);
  readonly #definitions = new Map<Value, Op>();
  readonly #inPlace: ReadonlyMap<Value, Register>;
  /** Uses of a value but those as an index that an address's offset takes apart. */
  readonly #otherUses = new Map<Value, number>();
  /** Registers of what was computed in the enclosing bodies, by what it is; innermost last. */
  readonly #known: Map<string, string>[] = [new Map()];

  /** Bytes of words that nothing uses but conversions from 8-bit floats and packs of the same word, of which there may be as many. */
  readonly #inWords = new Map<Value, { readonly word: string; readonly at: number }>();
  readonly #usesInWord = new Map<Value, number>();

  readonly #convertedPairs: ReadonlyMap<Value, ConvertedPair>;
  readonly #pairRegisters = new Map<ConvertedPair, string>();

  #range: ThreadRange;

  /** `files` are the module's, of which the kernel's are some. */
  constructor(kernel: Kernel, caps: Caps, files: readonly string[]) {
    this.kernel = kernel;
    this.caps = caps;
    this.beginsEarly = mayBeginEarly(kernel);
    this.#files = files;
    this.#range = { first: 0, count: kernel.threads };
    this.#inPlace = inPlaceValues(kernel.body);
    this.#convertedPairs = convertedPairs(kernel.body);
    visitOps(kernel.body, (op) => {
      if (op.kind === "const" || op.kind === "binary" || op.kind === "size")
        this.#definitions.set(op.dst, op);
    });
    const loaded = new Map<Value, { readonly load: Op; readonly at: number }>();
    const usedInWord = (value: Value): void => {
      this.#usesInWord.set(value, (this.#usesInWord.get(value) ?? 0) + 1);
    };
    visitOps(kernel.body, (op) => {
      if (op.kind === "load") for (const [at, dst] of op.dst.entries()) loaded.set(dst, { load: op, at });
      if (op.kind === "convert" && (op.storage === "e4m3" || op.storage === "e5m2") && op.dst.type === "f32")
        usedInWord(op.a);
      if (op.kind === "pack" && isOneWord(op.parts.map((part) => loaded.get(part))))
        op.parts.forEach(usedInWord);
      for (const value of partsOf(op).operands)
        this.#otherUses.set(value, (this.#otherUses.get(value) ?? 0) + 1);
      for (const { buffer, index, unit } of accessesOf(op)) {
        if (this.#split(buffer, index, unit).offset !== 0)
          this.#otherUses.set(index, (this.#otherUses.get(index) ?? 0) - 1);
      }
    });
  }

  instruction(text: string): void {
    this.out.line(`    ${text};`);
  }

  comment(text: string): void {
    this.out.line(`    ${text}`);
  }

  label(name: string): void {
    this.out.line(`${name}:`);
  }

  /** As the module's `.file` directives count, from 1. */
  fileNumber(file: number): number {
    const name = this.kernel.files[file];
    invariant(name !== undefined, `line of file ${file}, which the kernel does not name`);
    return this.#files.indexOf(name) + 1;
  }

  // Registers.

  temporary(name: RegisterClass, hint: string): string {
    const register = `%${this.#registers.fresh(hint)}`;
    this.#declared.get(name)?.push(register);
    return register;
  }

  /** Register that a value is about to be defined in. */
  define(value: Value): string {
    const variable = this.#inPlace.get(value);
    const register =
      variable === undefined ? this.temporary(classOf(value.type), value.hint) : this.variable(variable);
    this.#values.set(value, register);
    return register;
  }

  /** Leaves a byte in its word, if conversions from it, or the word itself, are all that is asked for. */
  leaveInWord(value: Value, word: string, at: number): boolean {
    if (this.#inPlace.has(value) || this.#usesInWord.get(value) !== this.#otherUses.get(value)) return false;
    this.#inWords.set(value, { word, at });
    return true;
  }

  placeInWord(value: Value): { readonly word: string; readonly at: number } | undefined {
    return this.#inWords.get(value);
  }

  /** The pair in which a number becomes an 8-bit float, if it is not converted alone. */
  convertedPair(value: Value): ConvertedPair | undefined {
    return this.#convertedPairs.get(value);
  }

  /** A b16 register that a pair of 8-bit floats is about to be defined in. */
  definePair(pair: ConvertedPair): string {
    const register = this.temporary("b16", "pair");
    this.#pairRegisters.set(pair, register);
    return register;
  }

  /** The two registers of the pairs that are a word, if it is made of such. */
  pairsOfWord(bytes: readonly Value[]): readonly [string, string] | undefined {
    const [first, , third] = bytes;
    const of = (value: Value | undefined): string | undefined => {
      const pair = value === undefined ? undefined : this.#convertedPairs.get(value);
      return pair === undefined ? undefined : this.#pairRegisters.get(pair);
    };
    const [low, high] = [of(first), of(third)];
    return low === undefined || high === undefined ? undefined : [low, high];
  }

  /** The value is what a register of the kernel's own holds throughout. */
  alias(value: Value, register: string): void {
    this.#values.set(value, register);
  }

  /** What an instruction names the value by: an immediate where it is a constant. */
  use(value: Value): string {
    const constant = this.constantOf(value);
    if (constant === undefined) return this.#registerOf(value);
    return value.type === "bool" ? this.register(value) : immediate(value.type, constant);
  }

  /** The value in a register, for operands that cannot be immediates. */
  register(value: Value): string {
    const constant = this.constantOf(value);
    if (constant === undefined) return this.#registerOf(value);
    const name = classOf(value.type);
    const register = this.temporary(name, value.hint === "" ? "constant" : value.hint);
    this.instruction(
      `mov.${name} ${register}, ${value.type === "bool" ? Number(constant) : immediate(value.type, constant)}`,
    );
    return register;
  }

  #registerOf(value: Value): string {
    const register = this.#values.get(value);
    invariant(register !== undefined, `${value.hint} (${value.id}) is used before its definition`);
    return register;
  }

  constantOf(value: Value): ScalarValue | undefined {
    const op = this.#definitions.get(value);
    return op?.kind === "const" ? op.value : undefined;
  }

  /** True where the value stands in its variable's register already, and needs no instruction. */
  isInPlace(value: Value, register: Register): boolean {
    return this.#inPlace.get(value) === register;
  }

  variable(register: Register): string {
    let name = this.#variables.get(register.id);
    if (name === undefined) {
      name = this.temporary(classOf(register.type), register.hint);
      this.#variables.set(register.id, name);
    }
    return name;
  }

  pointer(buffer: Buffer): string {
    const register = this.#pointers.get(buffer);
    invariant(register !== undefined, `${buffer.name} is no buffer of the kernel`);
    return register;
  }

  setPointer(buffer: Buffer, register: string): void {
    this.#pointers.set(buffer, register);
  }

  map(map: TensorMap): string {
    const register = this.#maps.get(map);
    invariant(register !== undefined, `${map.name} is no map of the kernel`);
    return register;
  }

  setMap(map: TensorMap, register: string): void {
    this.#maps.set(map, register);
  }

  /** A name without `%`. */
  symbol(hint: string): string {
    return this.#symbols.fresh(hint);
  }

  /** The symbol of a shared buffer's array. */
  sharedName(buffer: Buffer): string {
    let name = this.#arrays.get(buffer);
    if (name === undefined) {
      name = this.symbol(buffer.name);
      this.#arrays.set(buffer, name);
    }
    return name;
  }

  size(param: number): string {
    const register = this.#sizes[param];
    invariant(register !== undefined, `there is no size parameter ${param}`);
    return register;
  }

  addSize(register: string): void {
    this.#sizes.push(register);
  }

  newLabel(hint: string): string {
    return `$${this.#labels.fresh(hint)}`;
  }

  /** Registers by class, in order of their first use. */
  declared(): ReadonlyMap<RegisterClass, readonly string[]> {
    return this.#declared;
  }

  /** True where the bounds are constants that give at least one trip. */
  runsAtLeastOnce(op: Op<"for">): boolean {
    const [from, to] = [this.constantOf(op.from), this.constantOf(op.to)];
    if (from === undefined) return false;
    if (to !== undefined) return from < to;
    // A symbol is 1 at least, and what is made of such sizes by these operations too.
    const end = this.#definitions.get(op.to);
    const size = end?.kind === "size" ? this.kernel.sizes[end.param] : undefined;
    return size !== undefined && Number(from) === 0 && isPositive(size.dim);
  }

  /** True for a sum that only addresses name, by its parts: nothing computes it. */
  isFolded(value: Value): boolean {
    return this.#definitions.get(value)?.kind === "binary" && this.#otherUses.get(value) === 0;
  }

  /** Threads of the block that run what is being emitted. */
  get range(): ThreadRange {
    return this.#range;
  }

  inRange(range: ThreadRange, body: () => void): void {
    const outer = this.#range;
    this.#range = range;
    body();
    this.#range = outer;
  }

  /** A body in which new registers are known, and after which they are forgotten. */
  scoped(body: () => void): void {
    this.#known.push(new Map());
    body();
    this.#known.pop();
  }

  /** The register that holds what `key` says, computed unless an enclosing body has. */
  once(key: string, compute: () => string): string {
    for (const known of this.#known.toReversed()) {
      const found = known.get(key);
      if (found !== undefined) return found;
    }
    const register = compute();
    this.#known.at(-1)?.set(key, register);
    return register;
  }

  // Addresses.

  /**
   * `[register+offset]` of an element. An index `x + 8` has x in the register and 8 elements in the offset, so that
   * neighbours share a register. Indices lie within the buffer and `index32Limit` keeps them away from the end of
   * i32, so x did not wrap; an unsigned x might have.
   */
  address(buffer: Buffer, index: Value): string {
    const { register, offset } = this.place(buffer, index, 1);
    // A negative offset is added too: `[%x+-4]` is how PTX spells it.
    return offset === 0 ? `[${register}]` : `[${register}+${offset}]`;
  }

  /** The address in parts: a register, and bytes beyond it that are a multiple of `unit`. */
  place(buffer: Buffer, index: Value, unit: number): { readonly register: string; readonly offset: number } {
    const { root, offset } = this.#split(buffer, index, unit);
    return { register: root === undefined ? this.pointer(buffer) : this.#addressOf(buffer, root), offset };
  }

  #split(
    buffer: Buffer,
    index: Value,
    unit: number,
  ): { readonly root: Value | undefined; readonly offset: number } {
    const isOffset = (offset: number): boolean => Math.abs(offset) < offsetLimit && offset % unit === 0;
    const bytes = bytesOf(buffer.dtype);
    const whole = { root: index, offset: 0 };
    const constant = this.constantOf(index);
    if (constant !== undefined) {
      const offset = Number(constant) * bytes;
      return isOffset(offset) ? { root: undefined, offset } : whole;
    }
    const op = this.#definitions.get(index);
    if (op?.kind !== "binary" || op.fn !== "add" || (index.type === "u32" && buffer.space === "global"))
      return whole;
    const added = this.constantOf(op.b);
    if (added === undefined) return whole;
    const offset = Number(added) * bytes;
    return isOffset(offset) ? { root: op.a, offset } : whole;
  }

  #addressOf(buffer: Buffer, root: Value): string {
    return this.once(`address ${buffer.id} ${root.id}`, () => this.#computeAddress(buffer, root));
  }

  #computeAddress(buffer: Buffer, root: Value): string {
    const isShared = buffer.space === "shared";
    const register = this.temporary(isShared ? "b32" : "b64", `${buffer.name}_at`);
    const index = isShared && root.type === "i64" ? this.#low(root) : this.use(root);
    const fn = isShared
      ? "mad.lo.s32"
      : root.type === "i64"
        ? "mad.lo.s64"
        : root.type === "u32"
          ? "mad.wide.u32"
          : "mad.wide.s32";
    this.instruction(`${fn} ${register}, ${index}, ${bytesOf(buffer.dtype)}, ${this.pointer(buffer)}`);
    return register;
  }

  #low(value: Value): string {
    const register = this.temporary("b32", `${value.hint}_low`);
    this.instruction(`cvt.u32.u64 ${register}, ${this.register(value)}`);
    return register;
  }
}

/** Whether bytes are one word of a load, in order. */
function isOneWord(bytes: readonly ({ readonly load: Op; readonly at: number } | undefined)[]): boolean {
  const [first] = bytes;
  if (first === undefined || bytes.length !== 4 || first.at % 4 !== 0) return false;
  return bytes.every((byte, k) => byte?.load === first.load && byte.at === first.at + k);
}

interface Access {
  readonly buffer: Buffer;
  readonly index: Value;
  /** Bytes that an offset must be a multiple of to be split off. */
  readonly unit: number;
}

/** The places in buffers that an op names. */
function accessesOf(op: Op): readonly Access[] {
  switch (op.kind) {
    case "load":
    case "store":
    case "atomic":
      return [{ buffer: op.buffer, index: op.index, unit: 1 }];
    case "descriptor":
      return [{ buffer: op.buffer, index: op.index, unit: descriptorUnit }];
    case "instruction":
      return op.operands.filter(isAddress).map(({ buffer, index }) => ({ buffer, index, unit: 1 }));
    default:
      return [];
  }
}
