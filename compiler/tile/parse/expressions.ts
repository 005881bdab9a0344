/** Expressions of a tile program's text. */
import { scalarTypeOf } from "../../tensor/scalar-types.ts";
import type { TextReader } from "../../text.ts";
import { parseSize } from "../../types/dim-text.ts";
import { isRounding } from "../../types/dtype.ts";
import type { TileExpr } from "../ir.ts";
import type { Declarations } from "./declarations.ts";

/** What follows a function's name: its type, and its arguments. */
const application = /:[a-z0-9]+\(/y;

export class Expressions {
  readonly #r: TextReader;
  readonly #names: Declarations;
  /** What an op spells once and uses several times. */
  #shared = new Map<string, TileExpr>();

  constructor(r: TextReader, names: Declarations) {
    this.#r = r;
    this.#names = names;
  }

  /** The expressions that are named before an op. */
  readShared(): void {
    const r = this.#r;
    this.#shared = new Map();
    while (r.accept("with")) {
      const name = r.word();
      r.expect("=");
      this.#shared.set(name, this.expr());
    }
  }

  expr(): TileExpr {
    const r: TextReader = this.#r;
    switch (r.token.kind) {
      case "number":
        return this.#number();
      case "name": {
        const tile = this.#names.find(this.#names.shared, r.name("%"), "shared tile");
        return { kind: "shared", type: scalarTypeOf(tile.dtype), tile, index: this.index() };
      }
      case "punctuation":
        return this.#read();
      case "word":
        return this.#named();
      case "string":
      case "end":
        return r.fail("expected an expression");
    }
  }

  #number(): TileExpr {
    const { text, end } = this.#r.token;
    const value = this.#r.number();
    const suffixed = this.#r.token.start === end;
    if (suffixed && this.#r.accept("u")) return { kind: "const", type: "u32", value };
    if (suffixed && this.#r.accept("l")) return { kind: "const", type: "i64", value: BigInt(text) };
    return { kind: "const", type: /[.e]|inf|nan/.test(text) ? "f32" : "i32", value };
  }

  #read(): TileExpr {
    const r: TextReader = this.#r;
    r.expect("(");
    const buffer = this.#names.find(this.#names.buffers, r.name("@"), "buffer");
    const index = this.index();
    const type = this.#names.scalarType();
    const clamp = r.accept("clamp");
    const otherwise = clamp ? undefined : this.optional("else");
    r.expect(")");
    return {
      kind: "read",
      type,
      buffer,
      index,
      bounds: clamp ? "clamp" : otherwise === undefined ? "proved" : "else",
      otherwise,
    };
  }

  #named(): TileExpr {
    const r: TextReader = this.#r;
    const word = r.word();
    // A tile may have a function's name.
    if (r.follows(application)) return this.#application(word);
    const shared = this.#shared.get(word);
    if (shared !== undefined) return shared;
    const axis = this.#names.axes.get(word);
    if (axis !== undefined) return { kind: "coordinate", type: "i32", axis };
    const counter = this.#names.counters.get(word);
    if (counter !== undefined) return { kind: "counter", type: "i32", counter };
    const tile = this.#names.tiles.get(word);
    if (tile !== undefined) return { kind: "tile", type: tile.type, tile };
    switch (word) {
      case "true":
      case "false":
        return { kind: "const", type: "bool", value: word === "true" };
      case "inf":
      case "nan":
        return { kind: "const", type: "f32", value: word === "inf" ? Infinity : Number.NaN };
      case "size": {
        r.expect("(");
        const dim = parseSize(r.slice(")"));
        r.expect(")");
        return { kind: "size", type: "i32", dim };
      }
      case "round": {
        r.expect("(");
        const to = r.word();
        if (!isRounding(to)) r.fail("expected a float dtype or tf32");
        r.expect(",");
        const arg = this.expr();
        r.expect(")");
        return { kind: "round", type: "f32", to, arg };
      }
      case "cast": {
        r.expect("(");
        const to = this.#names.dtype();
        r.expect(",");
        const arg = this.expr();
        r.expect(")");
        return { kind: "cast", type: scalarTypeOf(to), to, arg };
      }
      default:
        return this.#application(word);
    }
  }

  #application(fn: string): TileExpr {
    const r: TextReader = this.#r;
    r.expect(":");
    const type = this.#names.scalarType();
    r.expect("(");
    return { kind: "apply", type, fn, args: r.list(")", () => this.expr()) };
  }

  optional(keyword: string): TileExpr | undefined {
    return this.#r.accept(keyword) ? this.expr() : undefined;
  }

  index(): TileExpr[] {
    this.#r.expect("[");
    return this.#r.list("]", () => this.expr());
  }
}
