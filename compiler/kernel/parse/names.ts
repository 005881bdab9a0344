/** The names of a kernel's text: values, registers, buffers and tensor maps, where they are declared and where used. */
import type { TextReader } from "../../text.ts";
import { parseSize } from "../../types/dim-text.ts";
import type { Dim } from "../../types/dim.ts";
import { isDType, type DType } from "../../types/dtype.ts";
import type { Buffer, Register, SizeParam, Swizzle, TensorMap, Value, ValueType } from "../ir.ts";
import { isValueType } from "./words.ts";

export class Names {
  readonly #r: TextReader;
  readonly #values = new Map<string, Value>();
  readonly #registers = new Map<string, Register>();
  readonly buffers: Map<string, Buffer> = new Map();
  readonly maps: Map<string, TensorMap> = new Map();

  constructor(r: TextReader) {
    this.#r = r;
  }

  /** Buffers and maps, which stand before the body. */
  declare(): void {
    const r = this.#r;
    while (!r.at("{") && !r.at("map")) this.#buffer();
    while (r.accept("map")) this.#map();
  }

  dim(stop: string): Dim {
    const dim = parseSize(this.#r.slice(stop));
    this.#r.expect(stop);
    return dim;
  }

  size(): SizeParam {
    const name = this.#r.string();
    this.#r.expect("=");
    return { name, dim: parseSize(this.#r.slice("size", "global", "shared", "map", "{")) };
  }

  #buffer(): void {
    const r = this.#r;
    const space = r.accept("shared") ? "shared" : "global";
    if (space === "global") r.expect("global");
    const spelling = r.name("@");
    const name = this.#hint(spelling);
    r.expect(":");
    const dtype = this.dtype();
    r.expect("[");
    const length = this.dim("]");
    const access = space === "shared" ? "read-write" : this.#access();
    r.expect("align");
    const align = r.integer();
    const lanes = r.accept("lanes") ? { lanes: r.integer() } : {};
    const panel = r.accept("panel") ? { panel: r.integer() } : {};
    const id = this.buffers.size;
    this.buffers.set(spelling, { id, name, space, dtype, length, access, align, ...lanes, ...panel });
  }

  #map(): void {
    const r = this.#r;
    const spelling = r.name("@");
    const name = this.#hint(spelling);
    r.expect("=");
    const buffer = this.#bufferUse();
    r.expect(":");
    r.expect("[");
    const dims: Dim[] = [];
    do dims.push(parseSize(r.slice(",", "]")));
    while (r.accept(","));
    r.expect("]");
    r.expect("box");
    r.expect("[");
    const box = r.list("]", () => r.integer());
    r.expect("swizzle");
    this.maps.set(spelling, { id: this.maps.size, name, buffer, dims, box, swizzle: this.swizzle() });
  }

  swizzle(): Swizzle {
    const bytes = this.#r.integer();
    if (bytes === 0 || bytes === 32 || bytes === 64 || bytes === 128) return bytes;
    return this.#r.fail("expected a swizzle of 0, 32, 64 or 128");
  }

  #access(): Buffer["access"] {
    const word = this.#r.word();
    if (word === "read" || word === "write" || word === "read-write") return word;
    return this.#r.fail("expected read, write or read-write");
  }

  dtype(): DType {
    const word = this.#r.word();
    return isDType(word) ? word : this.#r.fail("expected a dtype");
  }

  #type(): ValueType {
    const word = this.#r.word();
    return isValueType(word) ? word : this.#r.fail("expected a type");
  }

  /** The hint in `3_row`, or the string behind it. */
  #hint(spelling: string): string {
    if (this.#r.token.kind === "string") return this.#r.string();
    const cut = spelling.indexOf("_");
    return cut < 0 ? "" : spelling.slice(cut + 1);
  }

  define(): Value {
    const spelling = this.#r.name("%");
    const hint = this.#hint(spelling);
    this.#r.expect(":");
    if (this.#values.has(spelling)) this.#r.fail(`%${spelling} is defined twice`);
    const value: Value = { id: this.#values.size, type: this.#type(), hint };
    this.#values.set(spelling, value);
    return value;
  }

  defineRegister(): Register {
    const spelling = this.#r.name("$");
    const hint = this.#hint(spelling);
    this.#r.expect(":");
    const register: Register = { register: true, id: this.#registers.size, type: this.#type(), hint };
    this.#registers.set(spelling, register);
    return register;
  }

  use(): Value {
    const spelling = this.#r.name("%");
    return this.#values.get(spelling) ?? this.#r.fail(`%${spelling} is not defined`);
  }

  register(): Register {
    const spelling = this.#r.name("$");
    return this.#registers.get(spelling) ?? this.#r.fail(`$${spelling} is not defined`);
  }

  #bufferUse(): Buffer {
    const spelling = this.#r.name("@");
    return this.buffers.get(spelling) ?? this.#r.fail(`@${spelling} is not a buffer`);
  }

  place(): { readonly buffer: Buffer; readonly index: Value } {
    const buffer = this.#bufferUse();
    this.#r.expect("[");
    const index = this.use();
    this.#r.expect("]");
    return { buffer, index };
  }

  guard(): Value | undefined {
    return this.#r.accept("if") ? this.use() : undefined;
  }

  uses(): Value[] {
    const values = [this.use()];
    while (this.#r.accept(",")) values.push(this.use());
    return values;
  }
}
