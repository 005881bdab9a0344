/**
 * Sizes as text: as a user writes them (`printDim`), and as a plan keeps them (`sizeExpression`, `parseSize`).
 * A plan's text reads back to a size with the same key.
 */
import { add, combine, constant, type Dim, type DimCall, DimError, mul, sub, symbol } from "./dim.ts";

/** `2 * F`, `Dn + Dr`, `E / G`, `(S + 1) / 2`, `S - 1`, `min(S, T)`. */
export function printDim(d: Dim): string {
  return print(
    d,
    (left, right) => `${tight(left)} / ${tight(right)}`,
    (left, right) => `${tight(left)} % ${tight(right)}`,
  );
}

function tight(d: Dim): string {
  const text = printDim(d);
  const single =
    d.kind === "const" || d.kind === "symbol" || d.kind === "min" || d.kind === "max" || d.kind === "ceildiv";
  return single && !text.startsWith("-") ? text : `(${text})`;
}

/** The plan's syntax: `ceildiv(B * S, 4)`. */
export function sizeExpression(d: Dim): string {
  return print(
    d,
    (left, right) => `floordiv(${sizeExpression(left)}, ${sizeExpression(right)})`,
    (left, right) => `mod(${sizeExpression(left)}, ${sizeExpression(right)})`,
  );
}

type Spell = (left: Dim, right: Dim) => string;

function print(d: Dim, quotient: Spell, remainder: Spell): string {
  switch (d.kind) {
    case "const":
      return String(d.value);
    case "symbol":
      return d.name;
    case "sum":
      return printSum(d.terms, (term) => print(term, quotient, remainder));
    case "product":
      return d.factors.map((factor) => printFactor(factor, quotient, remainder)).join(" * ");
    case "floordiv":
      return quotient(d.left, d.right);
    case "mod":
      return remainder(d.left, d.right);
    default: {
      const [left, right] = [print(d.left, quotient, remainder), print(d.right, quotient, remainder)];
      return `${d.kind}(${left}, ${right})`;
    }
  }
}

function printFactor(d: Dim, quotient: Spell, remainder: Spell): string {
  const text = print(d, quotient, remainder);
  // A call binds tightest already; `E / G` inside a product does not.
  return / [/%] /.test(text) && (d.kind === "floordiv" || d.kind === "mod") ? `(${text})` : text;
}

function printSum(terms: readonly Dim[], spell: (term: Dim) => string): string {
  // A positive term first: `S - 1`, not `-1 + S`.
  const first = terms.findIndex((term) => !isNegative(term));
  const ordered =
    first > 0
      ? [...terms.slice(first, first + 1), ...terms.slice(0, first), ...terms.slice(first + 1)]
      : terms;
  return ordered
    .map((term, i) => {
      if (i === 0) return spell(term);
      return isNegative(term) ? ` - ${spell(negated(term))}` : ` + ${spell(term)}`;
    })
    .join("");
}

function isNegative(term: Dim): boolean {
  if (term.kind === "const") return term.value < 0;
  const first = term.kind === "product" ? term.factors[0] : undefined;
  return first?.kind === "const" && first.value < 0;
}

function negated(term: Dim): Dim {
  return mul(constant(-1), term);
}

// ---------------------------------------------------------------- reading

const calls: ReadonlySet<string> = new Set<DimCall>(["floordiv", "ceildiv", "mod", "min", "max"]);
const maxText = 16_384;
const maxNesting = 64;

function isCall(name: string): name is DimCall {
  return calls.has(name);
}

/** Reads a plan's size. Throws `DimError` ("syntax" with the place) on anything else, however long or deep. */
export function parseSize(text: string): Dim {
  if (text.length > maxText) throw new DimError("syntax", "a size expression is too long");
  const tokens = text.match(/[A-Za-z_][A-Za-z0-9_]*|[0-9]+|\S/g) ?? [];
  let at = 0;
  let nesting = 0;

  function fail(): never {
    const seen = tokens[at];
    throw new DimError(
      "syntax",
      `cannot read the size "${text.slice(0, 80)}"${seen === undefined ? "" : ` at "${seen}"`}`,
    );
  }
  function take(token: string): void {
    if (tokens[at] !== token) fail();
    at += 1;
  }
  function sum(): Dim {
    if ((nesting += 1) > maxNesting) fail();
    let left = product();
    for (;;) {
      const op = tokens[at];
      if (op !== "+" && op !== "-") break;
      at += 1;
      left = op === "+" ? add(left, product()) : sub(left, product());
    }
    nesting -= 1;
    return left;
  }
  function product(): Dim {
    let left = primary();
    while (tokens[at] === "*") {
      at += 1;
      left = mul(left, primary());
    }
    return left;
  }
  function primary(): Dim {
    const token = tokens[at] ?? fail();
    at += 1;
    if (/^[0-9]/.test(token)) return constant(BigInt(token));
    if (token === "-") {
      if ((nesting += 1) > maxNesting) fail();
      const value = negated(primary());
      nesting -= 1;
      return value;
    }
    if (token === "(") {
      const inner = sum();
      take(")");
      return inner;
    }
    if (!/^[A-Za-z_]/.test(token)) {
      at -= 1;
      fail();
    }
    if (tokens[at] !== "(") return symbol(token);
    if (!isCall(token)) fail();
    take("(");
    const left = sum();
    take(",");
    const right = sum();
    take(")");
    return combine(token, left, right);
  }

  const size = sum();
  if (at < tokens.length) fail();
  return size;
}
