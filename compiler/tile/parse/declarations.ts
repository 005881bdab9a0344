/** The names of a tile program's text: counters, buffers, axes, shared tiles, channels, and tiles in registers. */
import { scalarTypes } from "../../tensor/scalar-types.ts";
import type { ScalarType } from "../../tensor/ir.ts";
import type { TextReader } from "../../text.ts";
import { dimEquals } from "../../types/dim.ts";
import { parseSize } from "../../types/dim-text.ts";
import { isDType, type DType } from "../../types/dtype.ts";
import { TileBuilder } from "../build.ts";
import type { Axis, Channel, Counter, GlobalBuffer, SharedTile, Swizzle, Tile } from "../ir.ts";

/** What has been declared so far, by name, and how more is read. */
export class Declarations {
  readonly #r: TextReader;
  readonly #b = new TileBuilder();
  readonly axes: Map<string, Axis> = new Map();
  readonly counters: Map<string, Counter> = new Map();
  readonly buffers: Map<string, GlobalBuffer> = new Map();
  readonly shared: Map<string, SharedTile> = new Map();
  readonly channels: Map<string, Channel> = new Map();
  readonly tiles: Map<string, Tile> = new Map();

  constructor(r: TextReader) {
    this.#r = r;
  }

  /** What stands between a program's head and its ops. */
  read(): Pick<TileBuilder, "buffers" | "shared" | "channels"> {
    const r = this.#r;
    while (r.accept("global")) this.#global();
    while (r.accept("axis")) this.#axis();
    while (r.accept("shared")) this.#b.shared.push(this.#sharedTile());
    while (r.accept("channel")) this.#channel();
    return this.#b;
  }

  counter(): Counter {
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
    const known = this.counters.get(name);
    if (known !== undefined && dimEquals(known.count, count)) return known;
    const counter = this.#b.counter(name, count);
    this.counters.set(name, counter);
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
    const dtype = this.dtype();
    r.expect("[");
    const shape = r.list("]", () => parseSize(r.slice(",", "]")));
    this.buffers.set(name, this.#b.buffer(name, dtype, shape, access, use));
  }

  #sharedTile(): SharedTile {
    const r: TextReader = this.#r;
    const name = r.word();
    r.expect(":");
    const dtype = this.dtype();
    r.expect("[");
    const shape = r.list("]", () => r.integer());
    r.expect("pad");
    const pad = r.integer();
    const swizzle = r.accept("swizzle") ? this.#swizzle() : 0;
    const per = r.accept("per") ? this.find(this.axes, r.word(), "axis") : undefined;
    const tile = this.#b.slotTile(name, dtype, shape, {
      pad,
      swizzle,
      ...(per === undefined ? {} : { per }),
    });
    this.shared.set(name, tile);
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
    this.channels.set(name, this.#b.channel(name, depth, tiles));
  }

  #axis(): void {
    const r: TextReader = this.#r;
    const name = r.word();
    r.expect(":");
    const size = r.integer();
    if (r.accept("register")) {
      this.axes.set(name, this.#b.registerAxis(name, size));
      return;
    }
    if (r.accept("fragment")) {
      this.axes.set(name, this.#b.fragmentAxis(name, size));
      return;
    }
    r.expect("thread");
    this.axes.set(name, this.#b.threadAxis(name, size, r.integer()));
  }

  dtype(): DType {
    const word = this.#r.word();
    if (!isDType(word)) this.#r.fail("expected a dtype");
    return word;
  }

  find<T>(map: ReadonlyMap<string, T>, name: string, kind: string): T {
    const found = map.get(name);
    if (found === undefined) this.#r.fail(`there is no ${kind} '${name}' above`);
    return found;
  }

  axisList(...stops: readonly string[]): Axis[] {
    const axes: Axis[] = [];
    if (stops.some((stop) => this.#r.at(stop))) return axes;
    do axes.push(this.find(this.axes, this.#r.word(), "axis"));
    while (this.#r.accept(","));
    return axes;
  }

  typedTile(name: string): Tile {
    const r: TextReader = this.#r;
    r.expect(":");
    const type = this.scalarType();
    r.expect("[");
    const axes = this.axisList("]");
    r.expect("]");
    const packed = r.accept("packed") ? this.dtype() : undefined;
    // Two roles may compute the same tile, each for itself.
    const known = this.tiles.get(name);
    if (
      known?.type === type &&
      known.packed === packed &&
      known.axes.length === axes.length &&
      axes.every((axis, k) => axis === known.axes[k])
    )
      return known;
    const tile = this.#b.tile(name, type, axes, packed);
    this.tiles.set(name, tile);
    return tile;
  }

  scalarType(): ScalarType {
    const word = this.#r.word();
    const type = scalarTypes.find((known) => known === word);
    if (type === undefined) this.#r.fail("expected a scalar type");
    return type;
  }
}
