/**
 * What a matrix unit drops of one sum of products, followed product by product in the order of the program.
 *
 * In each step the unit aligns some products and what it had to the largest exponent e among them, where a product's
 * exponent is the sum of its factors' and a subnormal factor has that of the smallest normal number. All bits below
 * q = 2^(e - fractionBits) are dropped: each summand that has such bits loses less than q, towards zero. The sum is then
 * cut to keptBits. So a sum of terms of one sign loses on one side, and the loss grows with the number of terms and not
 * with its root: for the probable error a dropped part counts as q/2 with its sign, and up to q/2 beside that.
 */
import type { MatrixUnit } from "./matrix-units.ts";

/** Which of a loss's parts are wanted; the others stay 0. */
export type LossKind = "worst" | "probable";

export interface Loss {
  /** More cannot be lost. */
  readonly worst: number;
  /** What is lost on average, signed, if dropped bits are as good as random. */
  readonly drift: number;
  /** Sum of squares of what each drop may be away from its average. */
  readonly squares: number;
}

const none = -100_000;
const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);

/** floor(log2 x) of a positive normal f64; far below any of 0. */
function exponentOf(x: number): number {
  if (x === 0) return none;
  bits[0] = x;
  return (((words[1] ?? 0) >>> 20) & 0x7ff) - 1023;
}

export class UnitLoss {
  readonly #unit: MatrixUnit;
  readonly #kind: LossKind;
  readonly #run: number;
  readonly #least: readonly [number, number];
  readonly #products: Float64Array;
  #inStep = 0;
  #inRun = 0;
  #exponent = none;
  /** Of the run, in units of its products; `scale` is what the program multiplies them by. */
  #sum = 0;
  #scale = 1;
  #lost = 0;
  /** How far the products so far may be from those of exact factors, and how many of the step's may be. */
  #off = 0;
  #uncertain = 0;
  #drift = 0;
  #squares = 0;
  #total = { worst: 0, drift: 0, squares: 0 };

  /** `run`: products that are added before the sum goes on in f32; `least`: the factors' smallest normal magnitudes. */
  constructor(unit: MatrixUnit, run: number, least: readonly [number, number], kind: LossKind) {
    this.#unit = unit;
    this.#kind = kind;
    this.#run = run;
    this.#least = least;
    this.#products = new Float64Array(unit.atOnce);
  }

  begin(): void {
    this.#closeRun();
    this.#total = { worst: 0, drift: 0, squares: 0 };
  }

  /** `term` is a * b times the program's scales; the factors may be off by `errorA` and `errorB`. */
  take(term: number, a: number, b: number, errorA: number, errorB: number): void {
    const product = a * b;
    this.#products[this.#inStep] = product;
    const [sizeA, sizeB] = [Math.abs(a), Math.abs(b)];
    const off = sizeA * errorB + sizeB * errorA + errorA * errorB;
    if (off > 0) {
      this.#off += off;
      this.#uncertain += 1;
    }
    if (product !== 0) this.#scale = Math.abs(term / product);
    if (product !== 0 || off > 0) {
      const [leastA, leastB] = this.#least;
      const exponent =
        exponentOf(Math.max(sizeA + errorA, leastA)) + exponentOf(Math.max(sizeB + errorB, leastB));
      this.#exponent = Math.max(this.#exponent, exponent);
    }
    this.#inStep += 1;
    this.#inRun += 1;
    if (this.#inStep === this.#products.length) this.#closeStep();
    if (this.#inRun === this.#run) this.#closeRun();
  }

  end(): Loss {
    this.#closeRun();
    return this.#total;
  }

  #closeRun(): void {
    if (this.#inStep > 0) this.#closeStep();
    const scale = this.#scale;
    this.#total.worst += this.#lost * scale;
    this.#total.drift += this.#drift * scale;
    this.#total.squares += this.#squares * scale * scale;
    [this.#inRun, this.#sum, this.#scale, this.#lost, this.#off, this.#drift, this.#squares] = [
      0, 0, 1, 0, 0, 0, 0,
    ];
  }

  #closeStep(): void {
    if (this.#kind === "worst") this.#widest();
    else this.#likely();
    for (let i = 0; i < this.#inStep; i++) this.#sum += this.#products[i] ?? 0;
    [this.#inStep, this.#uncertain, this.#exponent] = [0, 0, none];
  }

  /** The accumulator may be off by what was lost before: larger, so that more bits are dropped, or with other bits. */
  #widest(): void {
    const { fractionBits, keptBits } = this.#unit;
    const before = Math.abs(this.#sum);
    const away = this.#lost + this.#off;
    const top = Math.max(this.#exponent, exponentOf(before + away));
    if (top === none) return;
    const [quantum, steps] = [2 ** (top - fractionBits), 2 ** (fractionBits - top)];
    const lowest = Math.max(0, before - away);
    let lost = before + away > 0 && exponentOf(lowest) - keptBits < top - fractionBits ? quantum : 0;
    let after = this.#sum;
    for (let i = 0; i < this.#inStep; i++) {
      const product = this.#products[i] ?? 0;
      after += product;
      if (this.#uncertain > 0 || product * steps !== Math.trunc(product * steps)) lost += quantum;
    }
    const last = 2 ** (exponentOf(Math.abs(after) + away + lost) - keptBits);
    if (last > 2 ** (Math.max(this.#exponent, exponentOf(lowest)) - fractionBits)) lost += last;
    this.#lost += lost;
  }

  #likely(): void {
    const { fractionBits, keptBits } = this.#unit;
    const top = Math.max(this.#exponent, exponentOf(Math.abs(this.#sum)));
    if (top === none) return;
    const [quantum, steps] = [2 ** (top - fractionBits), 2 ** (fractionBits - top)];
    const drop = (sign: number, size: number): void => {
      this.#drift -= (sign * size) / 2;
      this.#squares += (size * size) / 4;
    };
    if (this.#sum !== 0 && 2 ** (exponentOf(Math.abs(this.#sum)) - keptBits) < quantum)
      drop(Math.sign(this.#sum), quantum);
    let after = this.#sum;
    for (let i = 0; i < this.#inStep; i++) {
      const product = this.#products[i] ?? 0;
      after += product;
      if (product * steps !== Math.trunc(product * steps)) drop(Math.sign(product), quantum);
    }
    const last = 2 ** (exponentOf(Math.abs(after)) - keptBits);
    if (last > quantum) drop(Math.sign(after), last);
  }
}
