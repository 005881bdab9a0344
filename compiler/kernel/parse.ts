/** Reads what `print.ts` writes. `printKernel(parseKernel(text)) === text` for text that it wrote. */
import { invariant } from "../diagnostics/diagnostic.ts";
import { TextReader } from "../text.ts";
import type { Dim } from "../types/dim.ts";
import type { Kernel, KernelRole, Op, Operand, Register, SizeParam, Value, ValueType } from "./ir.ts";
import { Names } from "./parse/names.ts";
import { isAtomicFn, isBinaryFn, isUnaryFn } from "./parse/words.ts";
import { normalizeScalar, type ScalarValue } from "./scalar.ts";

/** Throws an `InternalError` with line and column where the text is no kernel. */
export function parseKernel(text: string): Kernel {
  const reader = new TextReader(text);
  const kernel = new KernelReader(reader).kernel();
  if (reader.token.kind !== "end") reader.fail("expected the end");
  return kernel;
}

/** Reads a kernel that other text may follow. */
export function readKernel(reader: TextReader): Kernel {
  return new KernelReader(reader).kernel();
}

class KernelReader {
  readonly #r: TextReader;
  readonly #names: Names;
  #results: readonly (Value | Register)[] = [];

  constructor(r: TextReader) {
    this.#r = r;
    this.#names = new Names(r);
  }

  kernel(): Kernel {
    const r = this.#r;
    r.expect("kernel");
    const name = r.string();
    r.expect("threads");
    const threads = r.integer();
    const cluster = r.accept("cluster") ? r.integer() : undefined;
    const resident = r.accept("resident") ? r.integer() : undefined;
    r.expect("grid");
    r.expect("(");
    const grid: [Dim, Dim, Dim] = [this.#names.dim(","), this.#names.dim(","), this.#names.dim(")")];
    r.expect("summary");
    const summary = r.string();
    const files: string[] = [];
    const sizes: SizeParam[] = [];
    while (r.accept("file")) files.push(r.string());
    while (r.accept("size")) sizes.push(this.#names.size());
    this.#names.declare();
    return {
      name,
      threads,
      ...(cluster === undefined ? {} : { cluster }),
      ...(resident === undefined ? {} : { resident }),
      grid,
      summary,
      files,
      sizes,
      buffers: [...this.#names.buffers.values()],
      maps: [...this.#names.maps.values()],
      body: this.#body(),
    };
  }

  #body(): Op[] {
    const ops: Op[] = [];
    this.#r.expect("{");
    while (!this.#r.accept("}")) ops.push(this.#op());
    return ops;
  }

  #op(): Op {
    if (this.#r.token.kind !== "name") return this.#statement(this.#r.word());
    // A definition: its results are read first, and named only behind its operands.
    this.#results = [];
    const results: (Value | Register)[] = [];
    do results.push(this.#r.token.text.startsWith("$") ? this.#names.register() : this.#names.define());
    while (this.#r.accept(","));
    this.#r.expect("=");
    this.#results = results;
    return this.#definition(this.#r.word());
  }

  #value(): Value {
    const [dst] = this.#results;
    if (dst === undefined || this.#results.length !== 1 || "register" in dst)
      return this.#r.fail("expected one value");
    return dst;
  }

  #valueResults(): Value[] {
    return this.#results.map((dst) => ("register" in dst ? this.#r.fail("expected values") : dst));
  }

  #definition(word: string): Op {
    if (isBinaryFn(word)) return { kind: "binary", dst: this.#value(), fn: word, ...this.#pair() };
    if (isUnaryFn(word)) return { kind: "unary", dst: this.#value(), fn: word, a: this.#names.use() };
    switch (word) {
      case "const":
        return { kind: "const", dst: this.#value(), value: this.#constant(this.#value().type) };
      case "size":
        return { kind: "size", dst: this.#value(), param: this.#r.integer() };
      case "thread":
        return { kind: "thread", dst: this.#value() };
      case "lane":
        return { kind: "lane", dst: this.#value() };
      case "subgroup":
        return { kind: "subgroup", dst: this.#value() };
      case "block":
        return { kind: "block", dst: this.#value(), axis: this.#axis() };
      case "fma": {
        const [a, b, c] = this.#three();
        return { kind: "fma", dst: this.#value(), a, b, c };
      }
      case "select": {
        const [condition, a, b] = this.#three();
        return { kind: "select", dst: this.#value(), condition, a, b };
      }
      case "convert":
        return {
          kind: "convert",
          dst: this.#value(),
          a: this.#names.use(),
          storage: this.#r.accept("as") ? this.#names.dtype() : undefined,
        };
      case "bitcast":
        return { kind: "bitcast", dst: this.#value(), a: this.#names.use() };
      case "pack":
        return { kind: "pack", dst: this.#value(), parts: this.#names.uses() };
      case "unpack":
        return { kind: "unpack", dst: this.#valueResults(), a: this.#names.use() };
      case "get":
        return { kind: "get", dst: this.#value(), register: this.#names.register() };
      case "descriptor": {
        const place = this.#names.place();
        this.#r.expect("leading");
        const leading = this.#r.integer();
        this.#r.expect("stride");
        const stride = this.#r.integer();
        this.#r.expect("swizzle");
        return {
          kind: "descriptor",
          dst: this.#value(),
          ...place,
          leading,
          stride,
          swizzle: this.#names.swizzle(),
        };
      }
      case "load": {
        const place = this.#names.place();
        const guard = this.#names.guard();
        return {
          kind: "load",
          dst: this.#valueResults(),
          ...place,
          guard,
          otherwise: this.#r.accept("else") ? this.#names.use() : undefined,
        };
      }
      case "shuffle-xor": {
        const value = this.#names.use();
        this.#r.expect(",");
        return { kind: "shuffle-xor", dst: this.#value(), value, mask: this.#r.integer() };
      }
      case "shuffle-index": {
        const { a, b } = this.#pair();
        return { kind: "shuffle-index", dst: this.#value(), value: a, lane: b };
      }
      case "instruction":
        return this.#instruction(this.#results);
      default:
        return this.#r.fail(`${word} is no op`);
    }
  }

  #statement(word: string): Op {
    const r = this.#r;
    switch (word) {
      case "var": {
        const register = this.#names.defineRegister();
        return { kind: "var", register, init: r.accept("=") ? this.#names.use() : undefined };
      }
      case "set": {
        const register = this.#names.register();
        r.expect("=");
        return { kind: "set", register, value: this.#names.use() };
      }
      case "store": {
        const place = this.#names.place();
        r.expect("=");
        return { kind: "store", ...place, values: this.#names.uses(), guard: this.#names.guard() };
      }
      case "atomic": {
        const fn = r.word();
        if (!isAtomicFn(fn)) return r.fail("expected an atomic function");
        const place = this.#names.place();
        r.expect("=");
        return { kind: "atomic", fn, ...place, value: this.#names.use(), guard: this.#names.guard() };
      }
      case "barrier":
        return { kind: "barrier", group: r.token.kind === "number" ? this.#group() : undefined };
      case "roles":
        return { kind: "roles", roles: this.#roles() };
      case "instruction":
        return this.#instruction([]);
      case "for":
        return this.#for();
      case "if": {
        const condition = this.#names.use();
        const then = this.#body();
        return { kind: "if", condition, then, else: r.accept("else") ? this.#body() : [] };
      }
      case "line":
        return { kind: "line", file: r.integer(), line: r.integer(), column: r.integer() };
      case "comment":
        return { kind: "comment", text: r.string() };
      default:
        return r.fail(`${word} is no op`);
    }
  }

  #group(): Op<"barrier">["group"] {
    const first = this.#r.integer();
    this.#r.expect("of");
    return { threads: this.#r.integer(), first };
  }

  #roles(): KernelRole[] {
    const r = this.#r;
    const roles: KernelRole[] = [];
    r.expect("{");
    while (r.accept("role")) {
      const name = r.token.kind === "string" ? r.string() : r.word();
      roles.push({ name, threads: r.integer(), body: this.#body() });
    }
    r.expect("}");
    return roles;
  }

  #for(): Op<"for"> {
    const r = this.#r;
    const index = this.#names.define();
    r.expect("=");
    const from = this.#names.use();
    r.expect("to");
    const to = this.#names.use();
    r.expect("step");
    const step = r.integer();
    const unroll = r.accept("unroll");
    return { kind: "for", index, from, to, step, unroll, body: this.#body() };
  }

  #instruction(dst: readonly (Value | Register)[]): Op<"instruction"> {
    const name = this.#r.string();
    this.#r.expect("(");
    const operands = this.#r.list(")", (): Operand => this.#operand());
    return { kind: "instruction", name, dst, operands };
  }

  #operand(): Operand {
    const { text } = this.#r.token;
    if (text === "matrix") return this.#matrix();
    if (!text.startsWith("@")) return this.#names.use();
    const map = this.#names.maps.get(text.slice(1));
    if (map === undefined) return this.#names.place();
    this.#r.name("@");
    return { map };
  }

  #matrix(): Operand {
    const r = this.#r;
    r.expect("matrix");
    const { buffer, index } = this.#names.place();
    r.expect("offset");
    const offset = r.integer();
    r.expect("stride");
    return { matrix: buffer, panel: index, offset, stride: r.integer() };
  }

  #pair(): { readonly a: Value; readonly b: Value } {
    const a = this.#names.use();
    this.#r.expect(",");
    return { a, b: this.#names.use() };
  }

  #three(): [Value, Value, Value] {
    const { a, b } = this.#pair();
    this.#r.expect(",");
    return [a, b, this.#names.use()];
  }

  #axis(): 0 | 1 | 2 {
    const axis = this.#r.integer();
    return axis === 0 || axis === 1 || axis === 2 ? axis : this.#r.fail("expected an axis");
  }

  #constant(type: ValueType): ScalarValue {
    if (type === "bool") return this.#r.word() === "true";
    if (type !== "i64") return normalizeScalar(type, this.#r.number());
    const { text, kind } = this.#r.next();
    invariant(kind === "number", `an i64 constant is a number, not ${text}`);
    return BigInt(text);
  }
}
