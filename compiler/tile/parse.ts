/** Reads the text of a tile program that `print` writes. `parse(print(p))` has the structure of `p`. */
import { TextReader } from "../text.ts";
import { parseSize } from "../types/dim-text.ts";
import type {
  Axis,
  Box,
  Channel,
  Counter,
  MatrixOperand,
  PanelCopy,
  RegisterOperand,
  Role,
  TileOp,
  TileProgram,
} from "./ir.ts";
import { Declarations } from "./parse/declarations.ts";
import { Expressions } from "./parse/expressions.ts";

/** Throws an `InternalError` with line and column where the text is no tile program. */
export function parse(text: string): TileProgram {
  return new Reading(new TextReader(text)).program();
}

class Reading {
  readonly #r: TextReader;
  readonly #names: Declarations;
  readonly #expressions: Expressions;

  constructor(r: TextReader) {
    this.#r = r;
    this.#names = new Declarations(r);
    this.#expressions = new Expressions(r, this.#names);
  }

  program(): TileProgram {
    const r: TextReader = this.#r;
    r.expect("tiles");
    const name = r.word();
    r.expect("threads");
    const threads = r.integer();
    const cluster = r.accept("cluster") ? r.integer() : undefined;
    const resident = r.accept("resident") ? r.integer() : undefined;
    const summary = r.string();
    const blocks: Counter[] = [];
    while (r.accept("block")) blocks.push(this.#names.counter());
    const { buffers, shared, channels } = this.#names.read();
    const body: TileOp[] = [];
    while (r.token.kind !== "end") body.push(this.#op());
    return {
      name,
      summary,
      threads,
      ...(cluster === undefined ? {} : { cluster }),
      ...(resident === undefined ? {} : { resident }),
      blocks,
      buffers,
      shared,
      channels,
      body,
    };
  }

  #op(): TileOp {
    const r: TextReader = this.#r;
    this.#expressions.readShared();
    switch (r.token.text) {
      case "var": {
        r.next();
        const tile = this.#names.typedTile(r.word());
        return { kind: "var", tile, init: r.accept("=") ? this.#expressions.expr() : undefined };
      }
      case "index": {
        r.next();
        const counter = this.#names.counter();
        r.expect("=");
        return { kind: "index", counter, expr: this.#expressions.expr() };
      }
      case "set": {
        r.next();
        const tile = this.#names.find(this.#names.tiles, r.word(), "tile");
        r.expect("=");
        return { kind: "update", tile, expr: this.#expressions.expr() };
      }
      case "fold": {
        r.next();
        const tile = this.#names.find(this.#names.tiles, r.word(), "tile");
        const { monoid, over } = this.#by(":");
        r.expect(":");
        return {
          kind: "fold",
          tile,
          monoid,
          over,
          expr: this.#expressions.expr(),
          where: this.#expressions.optional("where"),
        };
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
        const channel = this.#channelNamed();
        const deferred = r.accept("deferred");
        const where = this.#expressions.optional("where");
        const copies = this.#copies();
        const body = r.accept(where === undefined ? "and" : "else") ? this.#body() : [];
        return {
          kind: "fill",
          channel,
          copies,
          ...(deferred ? { deferred } : {}),
          where,
          body,
        };
      }
      case "commit":
        r.next();
        return { kind: "commit", channel: this.#channelNamed() };
      case "take":
        r.next();
        return { kind: "take", channel: this.#channelNamed() };
      case "release":
        r.next();
        return { kind: "release", channel: this.#channelNamed(), where: this.#expressions.optional("where") };
      case "drain":
        r.next();
        return { kind: "drain", copies: this.#copies() };
      case "prefetch":
        r.next();
        return this.#prefetch();
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
        return {
          kind: "turn",
          axis: this.#names.find(this.#names.axes, r.word(), "axis"),
          body: this.#body(),
        };
      case "if": {
        r.next();
        const [condition, then] = [this.#expressions.expr(), this.#body()];
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
    const tile = this.#names.typedTile(r.word());
    r.expect("=");
    if (r.accept("reduce")) {
      const src = this.#names.find(this.#names.tiles, r.word(), "tile");
      // A reduction over no axes ends where the next op begins: its list is empty.
      const { monoid, over } = this.#by();
      return { kind: "reduce", tile, src, monoid, over };
    }
    return {
      kind: "let",
      tile,
      expr: this.#expressions.expr(),
      where: this.#expressions.optional("where"),
      otherwise: this.#expressions.optional("else"),
    };
  }

  #by(...stops: readonly string[]): { readonly monoid: string; readonly over: Axis[] } {
    const r: TextReader = this.#r;
    r.expect("by");
    const monoid = r.word();
    r.expect("over");
    if (!this.#names.axes.has(r.token.text)) return { monoid, over: [] };
    return { monoid, over: this.#names.axisList(...stops) };
  }

  #store(): TileOp {
    const r: TextReader = this.#r;
    const buffer = this.#names.find(this.#names.buffers, r.name("@"), "buffer");
    const index = this.#expressions.index();
    const bounds = r.accept("drop") ? "drop" : "proved";
    r.expect("over");
    const axes = this.#names.axisList(":");
    r.expect(":");
    return {
      kind: "store",
      buffer,
      index,
      bounds,
      axes,
      expr: this.#expressions.expr(),
      where: this.#expressions.optional("where"),
    };
  }

  #put(): TileOp {
    const r: TextReader = this.#r;
    const shared = this.#names.find(this.#names.shared, r.name("%"), "shared tile");
    const index = this.#expressions.index();
    r.expect("over");
    const axes = this.#names.axisList(":");
    r.expect(":");
    return {
      kind: "put",
      shared,
      index,
      axes,
      expr: this.#expressions.expr(),
      where: this.#expressions.optional("where"),
      otherwise: this.#expressions.optional("else"),
    };
  }

  #mma(): TileOp {
    const r: TextReader = this.#r;
    const acc = this.#names.find(this.#names.tiles, r.word(), "tile");
    const a = r.accept("registers") ? this.#inRegisters() : this.#operand();
    const m = this.#expressions.expr();
    const b = this.#operand();
    const n = this.#expressions.expr();
    return {
      kind: "mma",
      acc,
      a,
      m,
      b,
      n,
      instruction: r.string(),
      accumulate: this.#expressions.optional("where"),
    };
  }

  #inRegisters(): RegisterOperand {
    const registers = this.#names.find(this.#names.tiles, this.#r.word(), "tile");
    return { registers, row: this.#expressions.expr(), k: this.#expressions.expr() };
  }

  #operand(): MatrixOperand {
    const tile = this.#names.find(this.#names.shared, this.#r.name("%"), "shared tile");
    const isOldest = this.#r.accept("oldest");
    const order = this.#r.word();
    if (order !== "k" && order !== "bands" && order !== "mn") this.#r.fail("expected k, bands or mn");
    return isOldest ? { tile, order, isOldest } : { tile, order };
  }

  #channelNamed(): Channel {
    return this.#names.find(this.#names.channels, this.#r.word(), "channel");
  }

  #copies(): PanelCopy[] {
    const r: TextReader = this.#r;
    const copies: PanelCopy[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      const tile = this.#names.find(this.#names.shared, r.name("%"), "shared tile");
      r.expect("panel");
      const panel = r.integer();
      const row = r.accept("row") ? { row: r.integer() } : {};
      const box = this.#box();
      copies.push({ tile, panel, ...row, box, ...(r.accept("common") ? { common: true } : {}) });
    }
    return copies;
  }

  #prefetch(): TileOp {
    const where = this.#expressions.optional("where");
    const boxes: Box[] = [];
    this.#r.expect("{");
    while (!this.#r.accept("}")) boxes.push(this.#box());
    return { kind: "prefetch", boxes, where };
  }

  #box(): Box {
    const r: TextReader = this.#r;
    const buffer = this.#names.find(this.#names.buffers, r.name("@"), "buffer");
    r.expect("[");
    const view = r.list("]", () => parseSize(r.slice(",", "]")));
    r.expect("at");
    const at = this.#expressions.index();
    r.expect("extent");
    r.expect("[");
    return { buffer, view, at, extent: r.list("]", () => r.integer()) };
  }

  #flag(kind: "raise" | "meet"): TileOp {
    const flags = this.#names.find(this.#names.buffers, this.#r.name("@"), "buffer");
    const [index, ...rest] = this.#expressions.index();
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
    const worker = this.#names.find(this.#names.counters, r.word(), "counter");
    const counters: Counter[] = [];
    while (r.accept("each")) counters.push(this.#names.counter());
    return { kind: "persistent", worker, counters, body: this.#body() };
  }

  #for(): TileOp {
    const r: TextReader = this.#r;
    const counter = this.#names.counter();
    const [from, below] = [this.#expressions.optional("from"), this.#expressions.optional("below")];
    const unroll = r.accept("unroll");
    return { kind: "for", counter, from, below, unroll, body: this.#body() };
  }

  #body(): TileOp[] {
    this.#r.expect("{");
    const body: TileOp[] = [];
    while (!this.#r.accept("}")) body.push(this.#op());
    return body;
  }
}
