/** Reads the text of a tile program that `print` writes. `parse(print(p))` has the structure of `p`. */
import { scalarTypes } from "../tensor/scalar-types.ts";
import type { ScalarType } from "../tensor/ir.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";
import { TextReader } from "../text.ts";
import { dimEquals } from "../types/dim.ts";
import { parseSize } from "../types/dim-text.ts";
import { isDType, isRounding, type DType } from "../types/dtype.ts";
import { TileBuilder } from "./build.ts";
import type {
  Axis,
  Channel,
  Counter,
  GlobalBuffer,
  MatrixOperand,
  PanelCopy,
  RegisterOperand,
  Role,
  SharedTile,
  Swizzle,
  Tile,
  TileExpr,
  TileOp,
  TileProgram,
} from "./ir.ts";

/** Throws an `InternalError` with line and column where the text is no tile program. */
export function parse(text: string): TileProgram {
  return new Reading(new TextReader(text)).program();
}

/** What follows a function's name: its type, and its arguments. */
const application = /:[a-z0-9]+\(/y;

class Reading {
  readonly #r: TextReader;
  readonly #b = new TileBuilder();
  readonly #axes = new Map<string, Axis>();
  readonly #counters = new Map<string, Counter>();
  readonly #buffers = new Map<string, GlobalBuffer>();
  readonly #shared = new Map<string, SharedTile>();
  readonly #channels = new Map<string, Channel>();
  readonly #tiles = new Map<string, Tile>();
  #expressions = new Map<string, TileExpr>();

  constructor(r: TextReader) {
    this.#r = r;
  }

  program(): TileProgram {
    const r: TextReader = this.#r;
    r.expect("tiles");
    const name = r.word();
    r.expect("threads");
    const threads = r.integer();
    const cluster = r.accept("cluster") ? r.integer() : undefined;
    const summary = r.string();
    const blocks: Counter[] = [];
    while (r.accept("block")) blocks.push(this.#counter());
    while (r.accept("global")) this.#global();
    while (r.accept("axis")) this.#axis();
    while (r.accept("shared")) this.#b.shared.push(this.#sharedTile());
    while (r.accept("channel")) this.#channel();
    const body: TileOp[] = [];
    while (r.token.kind !== "end") body.push(this.#op());
    const { buffers, shared, channels } = this.#b;
    return {
      name,
      summary,
      threads,
      ...(cluster === undefined ? {} : { cluster }),
      blocks,
      buffers,
      shared,
      channels,
      body,
    };
  }

  #counter(): Counter {
    const name = this.#r.word();
    this.#r.expect("in");
    const count = parseSize(
      this.#r.slice(
        "block",
        "global",
        "shared",
        "axis",
        "channel",
        "unroll",
        "from",
        "below",
        "each",
        "=",
        "{",
      ),
    );
    // Two loops may run the same counter, one after the other.
    const known = this.#counters.get(name);
    if (known !== undefined && dimEquals(known.count, count)) return known;
    const counter = this.#b.counter(name, count);
    this.#counters.set(name, counter);
    return counter;
  }

  #global(): void {
    const r: TextReader = this.#r;
    const access = r.accept("read") ? (r.accept("-") ? "read-write" : "read") : r.word();
    if (access === "read-write" && r.at("write")) r.next();
    if (access !== "read" && access !== "write" && access !== "read-write")
      r.fail("expected read, write or read-write");
    const use = r.accept("scratch") ? "scratch" : r.accept("flags") ? "flags" : "tensor";
    const name = r.word();
    r.expect(":");
    const dtype = this.#dtype();
    r.expect("[");
    const shape = r.list("]", () => parseSize(r.slice(",", "]")));
    this.#buffers.set(name, this.#b.buffer(name, dtype, shape, access, use));
  }

  #sharedTile(): SharedTile {
    const r: TextReader = this.#r;
    const name = r.word();
    r.expect(":");
    const dtype = this.#dtype();
    r.expect("[");
    const shape = r.list("]", () => r.integer());
    r.expect("pad");
    const pad = r.integer();
    const swizzle = r.accept("swizzle") ? this.#swizzle() : 0;
    const per = r.accept("per") ? this.#find(this.#axes, r.word(), "axis") : undefined;
    const tile = this.#b.slotTile(name, dtype, shape, {
      pad,
      swizzle,
      ...(per === undefined ? {} : { per }),
    });
    this.#shared.set(name, tile);
    return tile;
  }

  #swizzle(): Swizzle {
    const bytes = this.#r.integer();
    if (bytes !== 0 && bytes !== 32 && bytes !== 64 && bytes !== 128)
      this.#r.fail("expected a swizzle of 0, 32, 64 or 128");
    return bytes;
  }

  #channel(): void {
    const r: TextReader = this.#r;
    const name = r.word();
    r.expect("depth");
    const depth = r.integer();
    r.expect("{");
    const tiles: SharedTile[] = [];
    while (r.accept("shared")) tiles.push(this.#sharedTile());
    r.expect("}");
    this.#channels.set(name, this.#b.channel(name, depth, tiles));
  }

  #axis(): void {
    const r: TextReader = this.#r;
    const name = r.word();
    r.expect(":");
    const size = r.integer();
    if (r.accept("register")) {
      this.#axes.set(name, this.#b.registerAxis(name, size));
      return;
    }
    if (r.accept("fragment")) {
      this.#axes.set(name, this.#b.fragmentAxis(name, size));
      return;
    }
    r.expect("thread");
    this.#axes.set(name, this.#b.threadAxis(name, size, r.integer()));
  }

  #dtype(): DType {
    const word = this.#r.word();
    if (!isDType(word)) this.#r.fail("expected a dtype");
    return word;
  }

  #find<T>(map: ReadonlyMap<string, T>, name: string, kind: string): T {
    const found = map.get(name);
    if (found === undefined) this.#r.fail(`there is no ${kind} '${name}' above`);
    return found;
  }

  #axisList(...stops: readonly string[]): Axis[] {
    const axes: Axis[] = [];
    if (stops.some((stop) => this.#r.at(stop))) return axes;
    do axes.push(this.#find(this.#axes, this.#r.word(), "axis"));
    while (this.#r.accept(","));
    return axes;
  }

  #typedTile(name: string): Tile {
    const r: TextReader = this.#r;
    r.expect(":");
    const type = this.#scalarType();
    r.expect("[");
    const axes = this.#axisList("]");
    r.expect("]");
    const packed = r.accept("packed") ? this.#dtype() : undefined;
    // Two roles may compute the same tile, each for itself.
    const known = this.#tiles.get(name);
    if (
      known?.type === type &&
      known.packed === packed &&
      known.axes.length === axes.length &&
      axes.every((axis, k) => axis === known.axes[k])
    )
      return known;
    const tile = this.#b.tile(name, type, axes, packed);
    this.#tiles.set(name, tile);
    return tile;
  }

  #scalarType(): ScalarType {
    const word = this.#r.word();
    const type = scalarTypes.find((known) => known === word);
    if (type === undefined) this.#r.fail("expected a scalar type");
    return type;
  }

  // ---------------------------------------------------------------- ops

  #op(): TileOp {
    const r: TextReader = this.#r;
    this.#expressions = new Map();
    while (r.accept("with")) {
      const name = r.word();
      r.expect("=");
      this.#expressions.set(name, this.#expr());
    }
    switch (r.token.text) {
      case "var": {
        r.next();
        const tile = this.#typedTile(r.word());
        return { kind: "var", tile, init: r.accept("=") ? this.#expr() : undefined };
      }
      case "index": {
        r.next();
        const counter = this.#counter();
        r.expect("=");
        return { kind: "index", counter, expr: this.#expr() };
      }
      case "set": {
        r.next();
        const tile = this.#find(this.#tiles, r.word(), "tile");
        r.expect("=");
        return { kind: "update", tile, expr: this.#expr() };
      }
      case "fold": {
        r.next();
        const tile = this.#find(this.#tiles, r.word(), "tile");
        const { monoid, over } = this.#by(":");
        r.expect(":");
        return { kind: "fold", tile, monoid, over, expr: this.#expr(), where: this.#optional("where") };
      }
      case "store":
        r.next();
        return this.#store();
      case "put":
        r.next();
        return this.#put();
      case "mma":
        r.next();
        return this.#mma();
      case "await":
        r.next();
        return { kind: "await", pending: r.integer() };
      case "fill": {
        r.next();
        const [channel, where] = [this.#channelNamed(), this.#optional("where")];
        const copies = this.#copies();
        const body = r.accept(where === undefined ? "and" : "else") ? this.#body() : [];
        return { kind: "fill", channel, copies, where, body };
      }
      case "take":
        r.next();
        return { kind: "take", channel: this.#channelNamed() };
      case "release":
        r.next();
        return { kind: "release", channel: this.#channelNamed(), where: this.#optional("where") };
      case "drain":
        r.next();
        return { kind: "drain", copies: this.#copies() };
      case "raise":
      case "meet":
        return this.#flag(r.word() === "raise" ? "raise" : "meet");
      case "roles":
        r.next();
        return this.#roles();
      case "persistent":
        r.next();
        return this.#persistent();
      case "for":
        r.next();
        return this.#for();
      case "turn":
        r.next();
        return { kind: "turn", axis: this.#find(this.#axes, r.word(), "axis"), body: this.#body() };
      case "if": {
        r.next();
        const [condition, then] = [this.#expr(), this.#body()];
        r.expect("otherwise");
        return { kind: "if", condition, then, otherwise: this.#body() };
      }
      case "line":
        r.next();
        return { kind: "line", file: r.string(), line: r.integer(), column: r.integer() };
      default:
        return this.#definition();
    }
  }

  #definition(): TileOp {
    const r: TextReader = this.#r;
    const tile = this.#typedTile(r.word());
    r.expect("=");
    if (r.accept("reduce")) {
      const src = this.#find(this.#tiles, r.word(), "tile");
      // A reduction over no axes ends where the next op begins: its list is empty.
      const { monoid, over } = this.#by();
      return { kind: "reduce", tile, src, monoid, over };
    }
    return {
      kind: "let",
      tile,
      expr: this.#expr(),
      where: this.#optional("where"),
      otherwise: this.#optional("else"),
    };
  }

  #by(...stops: readonly string[]): { readonly monoid: string; readonly over: Axis[] } {
    const r: TextReader = this.#r;
    r.expect("by");
    const monoid = r.word();
    r.expect("over");
    if (!this.#axes.has(r.token.text)) return { monoid, over: [] };
    return { monoid, over: this.#axisList(...stops) };
  }

  #optional(keyword: string): TileExpr | undefined {
    return this.#r.accept(keyword) ? this.#expr() : undefined;
  }

  #index(): TileExpr[] {
    this.#r.expect("[");
    return this.#r.list("]", () => this.#expr());
  }

  #store(): TileOp {
    const r: TextReader = this.#r;
    const buffer = this.#find(this.#buffers, r.name("@"), "buffer");
    const index = this.#index();
    const bounds = r.accept("drop") ? "drop" : "proved";
    r.expect("over");
    const axes = this.#axisList(":");
    r.expect(":");
    return { kind: "store", buffer, index, bounds, axes, expr: this.#expr(), where: this.#optional("where") };
  }

  #put(): TileOp {
    const r: TextReader = this.#r;
    const shared = this.#find(this.#shared, r.name("%"), "shared tile");
    const index = this.#index();
    r.expect("over");
    const axes = this.#axisList(":");
    r.expect(":");
    return {
      kind: "put",
      shared,
      index,
      axes,
      expr: this.#expr(),
      where: this.#optional("where"),
      otherwise: this.#optional("else"),
    };
  }

  #mma(): TileOp {
    const r: TextReader = this.#r;
    const acc = this.#find(this.#tiles, r.word(), "tile");
    const a = r.accept("registers") ? this.#inRegisters() : this.#operand();
    const m = this.#expr();
    const b = this.#operand();
    const n = this.#expr();
    return { kind: "mma", acc, a, m, b, n, instruction: r.string(), accumulate: this.#optional("where") };
  }

  #inRegisters(): RegisterOperand {
    const registers = this.#find(this.#tiles, this.#r.word(), "tile");
    return { registers, row: this.#expr(), k: this.#expr() };
  }

  #operand(): MatrixOperand {
    const tile = this.#find(this.#shared, this.#r.name("%"), "shared tile");
    const isOldest = this.#r.accept("oldest");
    const order = this.#r.word();
    if (order !== "k" && order !== "bands" && order !== "mn") this.#r.fail("expected k, bands or mn");
    return isOldest ? { tile, order, isOldest } : { tile, order };
  }

  #channelNamed(): Channel {
    return this.#find(this.#channels, this.#r.word(), "channel");
  }

  #copies(): PanelCopy[] {
    const r: TextReader = this.#r;
    const copies: PanelCopy[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      const tile = this.#find(this.#shared, r.name("%"), "shared tile");
      r.expect("panel");
      const panel = r.integer();
      const row = r.accept("row") ? { row: r.integer() } : {};
      const buffer = this.#find(this.#buffers, r.name("@"), "buffer");
      r.expect("[");
      const view = r.list("]", () => parseSize(r.slice(",", "]")));
      r.expect("at");
      const at = this.#index();
      r.expect("extent");
      r.expect("[");
      const box = { buffer, view, at, extent: r.list("]", () => r.integer()) };
      copies.push({ tile, panel, ...row, box, ...(r.accept("common") ? { common: true } : {}) });
    }
    return copies;
  }

  #flag(kind: "raise" | "meet"): TileOp {
    const flags = this.#find(this.#buffers, this.#r.name("@"), "buffer");
    const [index, ...rest] = this.#index();
    if (index === undefined || rest.length > 0) this.#r.fail("expected one index");
    return { kind, flags, index };
  }

  #roles(): TileOp {
    const r: TextReader = this.#r;
    const roles: Role[] = [];
    r.expect("{");
    while (r.accept("role")) {
      const name = r.word();
      const threads = r.integer();
      const active = r.accept("one") ? "one" : "all";
      if (active === "all") r.expect("all");
      const registers = r.accept("registers") ? r.integer() : undefined;
      roles.push({ name, threads, active, registers, body: this.#body() });
    }
    r.expect("}");
    return { kind: "roles", roles };
  }

  #persistent(): TileOp {
    const r: TextReader = this.#r;
    const worker = this.#find(this.#counters, r.word(), "counter");
    const counters: Counter[] = [];
    while (r.accept("each")) counters.push(this.#counter());
    return { kind: "persistent", worker, counters, body: this.#body() };
  }

  #for(): TileOp {
    const r: TextReader = this.#r;
    const counter = this.#counter();
    const [from, below] = [this.#optional("from"), this.#optional("below")];
    const unroll = r.accept("unroll");
    return { kind: "for", counter, from, below, unroll, body: this.#body() };
  }

  #body(): TileOp[] {
    this.#r.expect("{");
    const body: TileOp[] = [];
    while (!this.#r.accept("}")) body.push(this.#op());
    return body;
  }

  // ---------------------------------------------------------------- expressions

  #expr(): TileExpr {
    const r: TextReader = this.#r;
    switch (r.token.kind) {
      case "number":
        return this.#number();
      case "name": {
        const tile = this.#find(this.#shared, r.name("%"), "shared tile");
        return { kind: "shared", type: scalarTypeOf(tile.dtype), tile, index: this.#index() };
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
    const buffer = this.#find(this.#buffers, r.name("@"), "buffer");
    const index = this.#index();
    const type = this.#scalarType();
    const clamp = r.accept("clamp");
    const otherwise = clamp ? undefined : this.#optional("else");
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
    const shared = this.#expressions.get(word);
    if (shared !== undefined) return shared;
    const axis = this.#axes.get(word);
    if (axis !== undefined) return { kind: "coordinate", type: "i32", axis };
    const counter = this.#counters.get(word);
    if (counter !== undefined) return { kind: "counter", type: "i32", counter };
    const tile = this.#tiles.get(word);
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
        const arg = this.#expr();
        r.expect(")");
        return { kind: "round", type: "f32", to, arg };
      }
      case "cast": {
        r.expect("(");
        const to = this.#dtype();
        r.expect(",");
        const arg = this.#expr();
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
    const type = this.#scalarType();
    r.expect("(");
    return { kind: "apply", type, fn, args: r.list(")", () => this.#expr()) };
  }
}
