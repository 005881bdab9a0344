/** What a tile program's expressions are evaluated in: memory, counters, coordinates, and tiles that are known. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { rounderTo } from "../../tensor/number-formats.ts";
import { evaluate, type Dim } from "../../types/dim.ts";
import type { Axis, Counter, GlobalBuffer, SharedTile, Tile, TileExpr } from "../ir.ts";
import { applyRow, castElement, flat, type Element, type Memory, type SharedMemory } from "./elements.ts";

export class Scope {
  readonly memory: ReadonlyMap<GlobalBuffer, Memory>;
  readonly dims: ReadonlyMap<string, number>;
  readonly counters: Map<Counter, number>;
  /** Of each shared tile what it holds now: of a channel's, the slot that was taken last, or is filled. */
  readonly shared: SharedMemory;
  readonly #tiles = new Map<Tile, Map<string, Element>>();
  #at = new Map<Axis, number>();

  constructor(
    memory: ReadonlyMap<GlobalBuffer, Memory>,
    dims: ReadonlyMap<string, number>,
    counters: ReadonlyMap<Counter, number>,
    shared: SharedMemory,
  ) {
    this.memory = memory;
    this.dims = dims;
    this.counters = new Map(counters);
    this.shared = new Map(shared);
  }

  memoryOf(buffer: GlobalBuffer): Memory {
    const memory = this.memory.get(buffer);
    invariant(memory !== undefined, `no memory for ${buffer.name}`);
    return memory;
  }

  contents(tile: SharedTile, tiles: SharedMemory = this.shared): Element[] {
    const place = tile.per === undefined ? 0 : this.#at.get(tile.per);
    const contents = place === undefined ? undefined : tiles.get(tile)?.get(place);
    invariant(contents !== undefined, `no memory for ${tile.name}`);
    return contents;
  }

  define(tile: Tile, value: () => Element): void {
    const made = new Map<string, Element>();
    this.each(tile.axes, () => made.set(this.#key(tile), value()));
    this.#tiles.set(tile, made);
  }

  #key(tile: Tile): string {
    // An axis of one place need not be in scope.
    return tile.axes.map((axis) => this.#at.get(axis) ?? (axis.size === 1 ? 0 : Number.NaN)).join(",");
  }

  element(tile: Tile): Element {
    const value = this.#tiles.get(tile)?.get(this.#key(tile));
    invariant(value !== undefined, `tile ${tile.name} has no element at ${this.#key(tile)}`);
    return value;
  }

  /** Calls `visit` at each coordinate of the axes, the last fastest; axes that are in scope already are varied anew. */
  each(axes: readonly Axis[], visit: () => void): void {
    const outer = this.#at;
    this.#at = new Map(outer);
    const along = (k: number): void => {
      const axis = axes[k];
      if (axis === undefined) {
        visit();
        return;
      }
      for (let i = 0; i < axis.size; i += 1) {
        this.#at.set(axis, i);
        along(k + 1);
      }
    };
    along(0);
    this.#at = outer;
  }

  holds(where: TileExpr | undefined): boolean {
    return where === undefined || this.value(where) !== 0;
  }

  value(expr: TileExpr): Element {
    switch (expr.kind) {
      case "const":
        return typeof expr.value === "boolean" ? Number(expr.value) : expr.value;
      case "size":
        return evaluate(expr.dim, this.dims);
      case "counter": {
        const value = this.counters.get(expr.counter);
        invariant(value !== undefined, `counter ${expr.counter.name} is not in scope`);
        return value;
      }
      case "coordinate": {
        const value = this.#at.get(expr.axis);
        invariant(value !== undefined, `axis ${expr.axis.name} is not in scope`);
        return value;
      }
      case "tile":
        return this.element(expr.tile);
      case "read":
        return this.#read(expr);
      case "shared": {
        const index = expr.index.map((part) => Number(this.value(part)));
        const value = this.contents(expr.tile, this.shared)[flat(index, expr.tile.shape)];
        invariant(value !== undefined, `${expr.tile.name}[${index.join(", ")}] is outside`);
        return value;
      }
      case "apply":
        return this.#apply(expr);
      case "round":
        return rounderTo(expr.to)(Number(this.value(expr.arg)));
      case "cast":
        return castElement(this.value(expr.arg), expr.arg.type, expr.to, expr.type);
    }
  }

  #apply(expr: Extract<TileExpr, { kind: "apply" }>): Element {
    // Both sides are pure, but only one may be readable.
    if (expr.fn === "select") {
      const [condition, a, b] = expr.args;
      invariant(condition !== undefined && a !== undefined && b !== undefined, "select takes three");
      return this.value(condition) !== 0 ? this.value(a) : this.value(b);
    }
    if (expr.fn === "and") return expr.args.every((arg) => this.value(arg) !== 0) ? 1 : 0;
    return applyRow(
      expr.fn,
      expr.args[0]?.type ?? expr.type,
      expr.args.map((arg) => this.value(arg)),
    );
  }

  #read(expr: Extract<TileExpr, { kind: "read" }>): Element {
    const memory = this.memoryOf(expr.buffer);
    const shape = expr.buffer.shape.map((extent: Dim) => evaluate(extent, this.dims));
    let index = expr.index.map((part) => Number(this.value(part)));
    if (expr.bounds === "clamp") index = index.map((i, k) => Math.max(0, Math.min(i, (shape[k] ?? 1) - 1)));
    const inside = index.every((i, k) => i >= 0 && i < (shape[k] ?? 0));
    if (!inside && expr.otherwise !== undefined) return this.value(expr.otherwise);
    invariant(inside, `${expr.buffer.name}[${index.join(", ")}] is read outside of [${shape.join(", ")}]`);
    const value = memory[flat(index, shape)];
    invariant(value !== undefined, `${expr.buffer.name} is shorter than its shape`);
    return value;
  }
}
