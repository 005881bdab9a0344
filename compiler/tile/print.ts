/**
 * The text of a tile program. `parse` reads it back to the same structure.
 *
 *     tiles rmsnorm threads 224 "y = x * rsqrt(mean)"
 *     block block in 16384
 *     global read x: bf16[16384, 7168]
 *     axis col_u: 4 register
 *     axis col_t: 224 thread 1
 *     var ss_part: f32[col_t] = 0.0
 *     fold ss_part by sum over col_u: mul(@x[..], @x[..])
 *     ss: f32[] = reduce ss_part by sum over col_t
 *
 * In expressions axes, counters and tiles are words, memory has a sigil: `@x[i, j]` global (`clamp`, `else e`),
 * `%a[k, m]` shared. An expression that an op uses twice stands before it: `with e0 = ..`.
 */
import { sizeExpression } from "../types/dim-text.ts";
import { printFloat } from "../text.ts";
import type {
  Axis,
  Box,
  Channel,
  Counter,
  GlobalBuffer,
  MatrixOperand,
  PanelCopy,
  RegisterOperand,
  SharedTile,
  Tile,
  TileExpr,
  TileOp,
  TileProgram,
} from "./ir.ts";
import { expressionsOf, isInRegisters, partsOf, visitOps } from "./walk.ts";

export function print(program: TileProgram): string {
  const p = new Printer();
  p.line(
    `tiles ${word(program.name)} threads ${program.threads}${program.cluster === undefined ? "" : ` cluster ${program.cluster}`}${program.resident === undefined ? "" : ` resident ${program.resident}`} ${JSON.stringify(program.summary)}`,
  );
  for (const counter of program.blocks)
    p.line(`block ${p.name(counter)} in ${sizeExpression(counter.count)}`);
  for (const buffer of program.buffers) {
    p.line(
      `global ${buffer.access}${buffer.use === "tensor" ? "" : ` ${buffer.use}`} ${p.name(buffer)}: ${buffer.dtype}[${buffer.shape.map(sizeExpression).join(", ")}]`,
    );
  }
  for (const axis of axesOf(program)) {
    p.line(
      `axis ${p.name(axis)}: ${axis.size} ${axis.place.kind === "thread" ? `thread ${axis.place.stride}` : axis.place.kind}`,
    );
  }
  for (const tile of program.shared) p.line(p.sharedTile(tile));
  for (const channel of program.channels) {
    const tiles = channel.tiles.map((tile) => p.sharedTile(tile)).join(" ");
    p.line(`channel ${p.name(channel)} depth ${channel.depth} { ${tiles} }`);
  }
  p.ops(program.body);
  return p.text();
}

function word(text: string): string {
  const plain = text.replace(/[^A-Za-z0-9_]/g, "_");
  return /^[A-Za-z_]/.test(plain) ? plain : `_${plain}`;
}

/** Axes in order of first use. */
function axesOf(program: TileProgram): Axis[] {
  const axes = new Set<Axis>();
  for (const tile of program.shared) if (tile.per !== undefined) axes.add(tile.per);
  visitOps(program.body, (op) => {
    if ("tile" in op) op.tile.axes.forEach((axis) => axes.add(axis));
    if (op.kind === "reduce") op.src.axes.forEach((axis) => axes.add(axis));
    if (op.kind === "mma") op.acc.axes.forEach((axis) => axes.add(axis));
    if ("over" in op) op.over.forEach((axis) => axes.add(axis));
    if ("axes" in op) op.axes.forEach((axis) => axes.add(axis));
  });
  return [...axes];
}

type Named = Axis | Channel | Counter | GlobalBuffer | SharedTile | Tile;

/** Words with a meaning of their own. */
const reserved: readonly string[] = [
  "tiles",
  "block",
  "global",
  "shared",
  "axis",
  "var",
  "index",
  "set",
  "fold",
  "store",
  "put",
  "mma",
  "for",
  "with",
  "line",
  "where",
  "else",
  "clamp",
  "drop",
  "over",
  "by",
  "reduce",
  "true",
  "false",
  "inf",
  "nan",
  "unroll",
  "round",
  "cast",
  "size",
  "channel",
  "depth",
  "panel",
  "at",
  "extent",
  "per",
  "swizzle",
  "await",
  "fill",
  "and",
  "deferred",
  "commit",
  "take",
  "release",
  "drain",
  "prefetch",
  "roles",
  "role",
  "all",
  "one",
  "registers",
  "oldest",
  "persistent",
  "each",
  "from",
  "below",
  "if",
  "otherwise",
  "packed",
  "turn",
  "raise",
  "cluster",
  "resident",
  "common",
  "meet",
  "scratch",
  "flags",
];

class Printer {
  readonly #lines: string[] = [];
  readonly #names = new Map<Named, string>();
  readonly #used = new Set<string>(reserved);
  #indent = "";
  #shared = new Map<TileExpr, string>();
  #expressions = 0;

  text(): string {
    return `${this.#lines.join("\n")}\n`;
  }

  line(text: string): void {
    this.#lines.push(this.#indent + text);
  }

  name(named: Named): string {
    const known = this.#names.get(named);
    if (known !== undefined) return known;
    const wanted = word(named.name);
    let name = wanted;
    for (let n = 2; this.#used.has(name); n += 1) name = `${wanted}_${n}`;
    this.#used.add(name);
    this.#names.set(named, name);
    return name;
  }

  ops(ops: readonly TileOp[]): void {
    for (const op of ops) this.#op(op);
  }

  #op(op: TileOp): void {
    this.#share(op);
    const where = (expr: TileExpr | undefined): string =>
      expr === undefined ? "" : ` where ${this.#expr(expr)}`;
    const other = (expr: TileExpr | undefined): string =>
      expr === undefined ? "" : ` else ${this.#expr(expr)}`;
    switch (op.kind) {
      case "let":
        this.line(`${this.#typed(op.tile)} = ${this.#expr(op.expr)}${where(op.where)}${other(op.otherwise)}`);
        return;
      case "var":
        this.line(`var ${this.#typed(op.tile)}${op.init === undefined ? "" : ` = ${this.#expr(op.init)}`}`);
        return;
      case "index":
        this.line(
          `index ${this.name(op.counter)} in ${sizeExpression(op.counter.count)} = ${this.#expr(op.expr)}`,
        );
        return;
      case "update":
        this.line(`set ${this.name(op.tile)} = ${this.#expr(op.expr)}`);
        return;
      case "fold":
        this.line(
          `fold ${this.name(op.tile)} by ${op.monoid} over ${this.#axes(op.over)}: ${this.#expr(op.expr)}${where(op.where)}`,
        );
        return;
      case "reduce":
        this.line(
          `${this.#typed(op.tile)} = reduce ${this.name(op.src)} by ${op.monoid} over ${this.#axes(op.over)}`,
        );
        return;
      case "store": {
        const drop = op.bounds === "drop" ? " drop" : "";
        this.line(
          `store @${this.name(op.buffer)}${this.#index(op.index)}${drop} over ${this.#axes(op.axes)}: ${this.#expr(op.expr)}${where(op.where)}`,
        );
        return;
      }
      case "put":
        this.line(
          `put %${this.name(op.shared)}${this.#index(op.index)} over ${this.#axes(op.axes)}: ${this.#expr(op.expr)}${where(op.where)}${other(op.otherwise)}`,
        );
        return;
      case "mma":
        this.line(
          `mma ${this.name(op.acc)} ${this.#operand(op.a)} ${this.#expr(op.m)} ${this.#operand(op.b)} ${this.#expr(op.n)} ${JSON.stringify(op.instruction)}${where(op.accumulate)}`,
        );
        return;
      case "await":
        this.line(`await ${op.pending}`);
        return;
      case "fill":
        this.#copies(
          `fill ${this.name(op.channel)}${op.deferred === true ? " deferred" : ""}${where(op.where)}`,
          op.copies,
        );
        if (op.body.length > 0) this.#block(op.where === undefined ? "and" : "else", op.body, "");
        return;
      case "commit":
        this.line(`commit ${this.name(op.channel)}`);
        return;
      case "take":
        this.line(`take ${this.name(op.channel)}`);
        return;
      case "release":
        this.line(`release ${this.name(op.channel)}${where(op.where)}`);
        return;
      case "drain":
        this.#copies("drain", op.copies);
        return;
      case "prefetch":
        this.line(`prefetch${where(op.where)} {`);
        for (const box of op.boxes) this.line(`  ${this.#box(box)}`);
        this.line("}");
        return;
      case "raise":
      case "meet":
        this.line(`${op.kind} @${this.name(op.flags)}${this.#index([op.index])}`);
        return;
      case "roles":
        this.line("roles {");
        for (const role of op.roles) {
          const registers = role.registers === undefined ? "" : ` registers ${role.registers}`;
          this.#block(
            `  role ${word(role.name)} ${role.threads} ${role.active}${registers}`,
            role.body,
            "  ",
          );
        }
        this.line("}");
        return;
      case "for": {
        const from = op.from === undefined ? "" : ` from ${this.#expr(op.from)}`;
        const below = op.below === undefined ? "" : ` below ${this.#expr(op.below)}`;
        const unroll = op.unroll ? " unroll" : "";
        const count = sizeExpression(op.counter.count);
        this.#block(`for ${this.name(op.counter)} in ${count}${from}${below}${unroll}`, op.body, "");
        return;
      }
      case "turn":
        this.#block(`turn ${this.name(op.axis)}`, op.body, "");
        return;
      case "if":
        this.#block(`if ${this.#expr(op.condition)}`, op.then, "");
        this.#block("otherwise", op.otherwise, "");
        return;
      case "persistent": {
        const counters = op.counters.map(
          (counter) => ` each ${this.name(counter)} in ${sizeExpression(counter.count)}`,
        );
        this.#block(`persistent ${this.name(op.worker)}${counters.join("")}`, op.body, "");
        return;
      }
      case "line":
        this.line(`line ${JSON.stringify(op.file)} ${op.line} ${op.column}`);
        return;
    }
  }

  #block(head: string, body: readonly TileOp[], margin: string): void {
    this.line(`${head} {`);
    const outer = this.#indent;
    this.#indent += `${margin}  `;
    this.ops(body);
    this.#indent = outer;
    this.line(`${margin}}`);
  }

  #copies(head: string, copies: readonly PanelCopy[]): void {
    this.line(`${head} {`);
    for (const { tile, panel, row, box, common } of copies) {
      const from = row === undefined ? "" : ` row ${row}`;
      this.line(
        `  %${this.name(tile)} panel ${panel}${from} ${this.#box(box)}${common === true ? " common" : ""}`,
      );
    }
    this.line("}");
  }

  #box({ buffer, view, at, extent }: Box): string {
    const sizes = view.map(sizeExpression).join(", ");
    return `@${this.name(buffer)}[${sizes}] at ${this.#index(at)} extent [${extent.join(", ")}]`;
  }

  #operand(operand: MatrixOperand | RegisterOperand): string {
    if (isInRegisters(operand))
      return `registers ${this.name(operand.registers)} ${this.#expr(operand.row)} ${this.#expr(operand.k)}`;
    return `%${this.name(operand.tile)} ${operand.isOldest === true ? "oldest " : ""}${operand.order}`;
  }

  sharedTile(tile: SharedTile): string {
    const swizzle = tile.swizzle === 0 ? "" : ` swizzle ${tile.swizzle}`;
    const per = tile.per === undefined ? "" : ` per ${this.name(tile.per)}`;
    return `shared ${this.name(tile)}: ${tile.dtype}[${tile.shape.join(", ")}] pad ${tile.pad}${swizzle}${per}`;
  }

  /** Names what the op uses more than once, so that the text is no longer than the program. */
  #share(op: TileOp): void {
    this.#shared = new Map();
    const uses = new Map<TileExpr, number>();
    const order: TileExpr[] = [];
    const visit = (expr: TileExpr): void => {
      const count = (uses.get(expr) ?? 0) + 1;
      uses.set(expr, count);
      if (count > 1) return;
      partsOf(expr).forEach(visit);
      order.push(expr);
    };
    expressionsOf(op).forEach(visit);
    for (const expr of order) {
      if ((uses.get(expr) ?? 0) < 2 || partsOf(expr).length === 0) continue;
      const name = `e${this.#expressions}`;
      this.#expressions += 1;
      this.#used.add(name);
      this.line(`with ${name} = ${this.#expr(expr)}`);
      this.#shared.set(expr, name);
    }
  }

  #typed(tile: Tile): string {
    const packed = tile.packed === undefined ? "" : ` packed ${tile.packed}`;
    return `${this.name(tile)}: ${tile.type}[${this.#axes(tile.axes)}]${packed}`;
  }

  #axes(axes: readonly Axis[]): string {
    return axes.map((axis) => this.name(axis)).join(", ");
  }

  #index(index: readonly TileExpr[]): string {
    return `[${index.map((part) => this.#expr(part)).join(", ")}]`;
  }

  #expr(expr: TileExpr): string {
    const known = this.#shared.get(expr);
    if (known !== undefined) return known;
    switch (expr.kind) {
      case "const":
        return constantText(expr);
      case "size":
        return `size(${sizeExpression(expr.dim)})`;
      case "counter":
        return this.name(expr.counter);
      case "coordinate":
        return this.name(expr.axis);
      case "tile":
        return this.name(expr.tile);
      case "read": {
        const bounds =
          expr.bounds === "clamp"
            ? " clamp"
            : expr.otherwise === undefined
              ? ""
              : ` else ${this.#expr(expr.otherwise)}`;
        return `(@${this.name(expr.buffer)}${this.#index(expr.index)} ${expr.type}${bounds})`;
      }
      case "shared":
        return `%${this.name(expr.tile)}${this.#index(expr.index)}`;
      case "apply":
        return `${expr.fn}:${expr.type}(${expr.args.map((arg) => this.#expr(arg)).join(", ")})`;
      case "round":
        return `round(${expr.to}, ${this.#expr(expr.arg)})`;
      case "cast":
        return `cast(${expr.to}, ${this.#expr(expr.arg)})`;
    }
  }
}

function constantText(expr: Extract<TileExpr, { kind: "const" }>): string {
  if (typeof expr.value === "boolean") return String(expr.value);
  if (expr.type === "f32") return printFloat(Number(expr.value));
  return `${expr.value}${expr.type === "u32" ? "u" : expr.type === "i64" ? "l" : ""}`;
}
