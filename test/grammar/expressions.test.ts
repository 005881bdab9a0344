import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Expr } from "../../grammar/ast.ts";
import { parse } from "../../grammar/index.ts";
import { showErrors, showExpr } from "./show.ts";

function read(source: string): string {
  const text = `fn f<A: float>(x: f32[N]) -> f32[N] {\n${source}\n}`;
  const { file, errors } = parse(text);
  const [fn] = file.declarations;
  if (errors.length > 0 || fn?.kind !== "fn" || fn.body?.result === undefined)
    return showErrors(text, errors).join("; ");
  return showExpr(fn.body.result);
}

describe("precedence", () => {
  test.each([
    ["a + b * c", "(a + (b * c))"],
    ["a - b - c", "((a - b) - c)"],
    ["a / b * c % d", "(((a / b) * c) % d)"],
    ["-a * b", "((- a) * b)"],
    ["a - -b", "(a - (- b))"],
    ["- - a", "(- (- a))"],
    ["-x[i].y(z)", "(- x[i].y(z))"],
    ["a + b < c * d", "((a + b) < (c * d))"],
    ["not a == b", "(not (a == b))"],
    ["a != b", "(a != b)"],
    ["not not a", "(not (not a))"],
    ["not a and b or not c", "(((not a) and b) or (not c))"],
    ["a or b and c", "(a or (b and c))"],
    ["a where b and c", "(a where (b and c))"],
    ["a + b where c where d", "(((a + b) where c) where d)"],
    ["a + b as [N, M / 2]", "((a + b) as [N, (M / 2)])"],
    ["a as [N] where b as [M]", "(((a as [N]) where b) as [M])"],
    ["a as [..., 3]", "(a as [..., 3])"],
    ["(a + b) * c", "({(a + b)} * c)"],
  ])("%s", (source, tree) => expect(read(source)).toBe(tree));
});

describe("for and if reach as far right as they can", () => {
  test.each([
    ["for a, b in T, c in D / 2: a + b where c", "(for a, b in T, c in (D / 2): ((a + b) where c))"],
    ["for ..., d: x[..., d]", "(for ..., d: x[..., d])"],
    ["for i: for j: x[i, j]", "(for i: (for j: x[i, j]))"],
    ["s * for i: x[i] + 1", "(s * (for i: (x[i] + 1)))"],
    ["if a then b else c + d", "(if a then b else (c + d))"],
    ["if a then b else if c then d else e", "(if a then b else (if c then d else e))"],
    ["if a then if b then c else d else e", "(if a then (if b then c else d) else e)"],
    ["a + if b then c else d", "(a + (if b then c else d))"],
    ["for i:\n  if a\n    then b\n    else c", "(for i: (if a then b else c))"],
  ])("%s", (source, tree) => expect(read(source)).toBe(tree));
});

describe("index, call, field", () => {
  test.each([
    ["x[i, j - 1] else 0.0", "(x[i, (j - 1)] else 0.0)"],
    ["x[i] else -inf * 2", "((x[i] else (- inf)) * 2)"],
    ["x[i] else y[j] else 0", "(x[i] else (y[j] else 0))"],
    ["x[S as T]", "x[S as T]"],
    ["x[Dn + Dr as T, ...]", "x[(Dn + Dr) as T, ...]"],
    ["sum[j, k in T](x[j, k])", "sum[j, k in T](x[j, k])"],
    ["split[Ck | Dr](z)", "split[Ck | Dr](z)"],
    ["split[A | B + C | D](z)", "split[A | (B + C) | D](z)"],
    ["topk[E / G, 2](b).values", "topk[(E / G), 2](b).values"],
    ["kv.append(join[Ck + Dr](a.c, b))", "kv.append(join[(Ck + Dr)](a.c, b))"],
    ["f(a, b,)", "f(a, b)"],
    ["f()", "f()"],
    ["table[ids[b, s], d]", "table[ids[b, s], d]"],
    ["f32(x[i])", "f32(x[i])"],
    ["(c: a + 1, r: b)", "(c: (a + 1), r: b)"],
    ["1e-6 + 2.5e3 + 0.5 + 12", "(((1e-6 + 2.5e3) + 0.5) + 12)"],
    ["true and not false", "(true and (not false))"],
  ])("%s", (source, tree) => expect(read(source)).toBe(tree));
});

describe("the else of a read and the else of an if", () => {
  test.each([
    ["if c then x[i] else b", "(if c then x[i] else b)"],
    ["if c then x[i] else 0.0 else b", "(if c then (x[i] else 0.0) else b)"],
    ["if c then (x[i] else 0.0) else b", "(if c then {(x[i] else 0.0)} else b)"],
    ["if c then b else x[i] else 0", "(if c then b else (x[i] else 0))"],
    ["if x[i] else 0 > 1 then a else b", "(if ((x[i] else 0) > 1) then a else b)"],
    ["if a then if b then x[i] else y else z", "(if a then (if b then x[i] else y) else z)"],
    ["if a then if b then x[i] else 0 else y else z", "(if a then (if b then (x[i] else 0) else y) else z)"],
    ["if a then f(x[i] else 0) else b", "(if a then f((x[i] else 0)) else b)"],
    ["if a then x[i] else if b then y else z", "(if a then x[i] else (if b then y else z))"],
  ])("%s", (source, tree) => expect(read(source)).toBe(tree));
});

describe("a '<' opens type arguments only before a dtype or type parameter and then '>', '@' or ','", () => {
  test.each([
    ["quantize<e4m3 @ (1, 128)>(x)", "quantize<e4m3>(x)"],
    ["f<A>(x)", "f<A>(x)"],
    ["m.f<bf16, f32>[E, 8](a)", "m.f<bf16, f32>[E, 8](a)"],
    ["a < b", "(a < b)"],
    ["a < B", "(a < B)"],
    ["a < A", "(a < A)"],
    ["a < f32(b)", "(a < f32(b))"],
    ["f(a < b, c > (d))", "f((a < b), (c > {d}))"],
  ])("%s", (source, tree) => expect(read(source)).toBe(tree));
});

describe("a line end ends a statement, except in () and [], after an operator, a comma, '=' or ':'", () => {
  test.each([
    ["a +\nb", "(a + b)"],
    ["(a\n + b)", "{(a + b)}"],
    ["f(\n  a,\n  b\n)", "f(a, b)"],
    ["x[\n  i\n]", "x[i]"],
    ["for i:\n  x[i]", "(for i: x[i])"],
    ["a // note\nwhere b", "(a where b)"],
    ["let y =\n  a\ny", "y"],
    ["let y = a; y", "y"],
    ["let y = a;\n\n;; y;", "y"],
    ["let y: Mla<A>\n= a\ny", "y"],
    ["let y = a >\n  b\ny", "y"],
  ])("%j", (source, tree) => expect(read(source)).toBe(tree));
});

test("spans cover the text of their nodes", () => {
  const text = "const a = (b + c[i] else 0) * -d.e(f)";
  const [decl] = parse(text).file.declarations;
  const seen: string[] = [];
  const visit = (e: Expr): void => {
    seen.push(text.slice(e.span.start, e.span.end));
    if (e.kind === "binary") [e.left, e.right].forEach(visit);
    else if (e.kind === "paren" || e.kind === "unary") visit(e.value);
    else if (e.kind === "call") visit(e.callee);
  };
  if (decl?.kind === "const") visit(decl.value);
  expect(seen).toEqual([
    "(b + c[i] else 0) * -d.e(f)",
    "(b + c[i] else 0)",
    "b + c[i] else 0",
    "b",
    "c[i] else 0",
    "-d.e(f)",
    "d.e(f)",
    "d.e",
  ]);
});

const levels = [["where"], ["or"], ["and"], ["+", "-"], ["*", "/", "%"]];

/** The tree that splitting at the last of the loosest operators gives. */
function expected(names: readonly string[], ops: readonly string[]): string {
  if (ops.length === 0) return names[0] ?? "";
  const loosest = levels.find((level) => ops.some((op) => level.includes(op))) ?? [];
  const at = ops.findLastIndex((op) => loosest.includes(op));
  return `(${expected(names.slice(0, at + 1), ops.slice(0, at))} ${ops[at]} ${expected(names.slice(at + 1), ops.slice(at + 1))})`;
}

test("any chain of operators folds by their levels, from the left", () => {
  const link = fc.tuple(fc.constantFrom(...levels.flat()), fc.constantFrom("a", "b", "c", "d"));
  fc.assert(
    fc.property(fc.array(link, { maxLength: 12 }), (links) => {
      const source = ["x", ...links.map(([op, name]) => `${op} ${name}`)].join(" ");
      expect(read(source)).toBe(
        expected(
          ["x", ...links.map(([, name]) => name)],
          links.map(([op]) => op),
        ),
      );
    }),
  );
});
