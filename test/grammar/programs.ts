/** Random programs, as text with the tokens between which a comment or a line end may stand. */

import fc from "fast-check";

/** A place where a line may end without ending a statement. */
export const gap = "\u0002";
/** A place where a statement ends. */
export const end = "\u0003";

type Text = fc.Arbitrary<string>;

const value: Text = fc.constantFrom("a", "b", "x1", "pos_k", "stage", "rank", "dim", "sum");
const size: Text = fc.constantFrom("N", "M", "Dh", "S1");
const dtype: Text = fc.constantFrom("f32", "bf16", "e4m3", "i32", "A");
const join = (open: string, items: Text, close: string, least = 1): Text =>
  fc
    .tuple(fc.array(items, { minLength: least, maxLength: 3 }), fc.boolean())
    .map(
      ([list, comma]) =>
        `${open}${gap}${list.join(`,${gap} `)}${comma && list.length > 0 ? "," : ""}${gap}${close}`,
    );
const text = (strings: TemplateStringsArray, ...parts: Text[]): Text =>
  fc.tuple(...parts).map((made) => strings.reduce((all, string, i) => all + string + (made[i] ?? ""), ""));
const optional = (part: Text): Text => fc.oneof(fc.constant(""), part);

const gapped: Text = fc.constant(gap);

const { dim } = fc.letrec<{ dim: string }>((tie) => ({
  dim: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    size,
    fc.constantFrom("2", "128"),
    text`${tie("dim")} ${fc.constantFrom("+", "-", "*", "/", "%")} ${size}`,
    text`(${tie("dim")})`,
  ),
}));

const axis: Text = fc.oneof(dim, fc.constant("..."), text`R[${size}]`, text`${size} @ ep`);
const scale: Text = fc.constantFrom(" @ (1, 128)", " @ (128, 128) ue8m0");
const type: Text = fc.oneof(
  dtype,
  text`${dtype}${join("[", axis, "]")}${optional(scale)}`,
  text`Paged<${dtype}, 64>${join("[", axis, "]")}`,
  text`(${value}: ${dtype}${join("[", axis, "]")}, r: i32)`,
);

export const { expression } = fc.letrec<{ expression: string; tight: string }>((tie) => ({
  tight: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    value,
    fc.constantFrom("1", "0.5", "1e-6", "true", "inf", "-inf", "N"),
    text`(${gapped}${tie("expression")})`,
    join("(", text`${value}: ${tie("expression")}`, ")"),
    text`${value}${join("(", tie("expression"), ")", 0)}`,
    text`f32(${tie("expression")})`,
    text`${value}${join("[", fc.oneof(tie("expression"), fc.constant("..."), text`S as ${size}`), "]")}`,
    text`${value}[i] else ${fc.constantFrom("0.0", "-inf", "x[j]")}`,
    text`sum${join("[", fc.oneof(fc.constant("k"), text`k in ${dim}`), "]")}${join("(", tie("expression"), ")")}`,
    text`split[${size} | ${size}](${tie("expression")})`,
    text`quantize<${fc.constantFrom("e4m3", "bf16")}${scale}>(${tie("expression")})`,
    text`${value}.${value}`,
  ),
  expression: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("tight"),
    text`${tie("tight")} ${fc.constantFrom("+", "-", "*", "/", "%", "and", "or", "where")}${gapped} ${tie("tight")}`,
    text`(${tie("tight")} ${fc.constantFrom("==", "<", ">=")}${gapped} ${tie("tight")})`,
    text`-${tie("tight")}`,
    text`not ${tie("tight")}`,
    text`for ${join("", fc.oneof(fc.constant("i"), text`j in ${dim}`, fc.constant("...")), "")}:${gapped} ${tie("expression")}`,
    text`if ${tie("tight")} then (${tie("expression")}) else ${tie("expression")}`,
    text`${tie("tight")} as ${join("[", axis, "]")}`,
  ),
}));

const statement: Text = fc.oneof(
  text`let ${value} =${gapped} ${expression}`,
  text`let ${value}: ${type} = ${expression}`,
  text`let (${value}, c) = ${expression}`,
  text`kv.append(${expression})`,
);
const block = (item: Text, least = 0): Text =>
  fc
    .array(item, { minLength: least, maxLength: 3 })
    .map((items) => `{${items.map((each) => `${end}${each}`).join(end)}${end}}`);
const params: Text = join("(", text`${value}: ${type}${optional(text` = ${expression}`)}`, ")", 0);
const facts: Text = optional(text` where ${expression}, M > 2`);
const fn: Text = text`fn ${value}${optional(fc.constant("<A: float>"))}${optional(fc.constant("[X, K]"))}${params}${optional(text` -> ${type}`)}${facts} ${fc.tuple(block(statement), expression).map(([body, result]) => `${body.slice(0, -1)}${result}${end}}`)}`;

const member: Text = fc.oneof(
  text`param ${value}: ${type}`,
  text`state ${value}: ${type}`,
  text`const ${value} = ${expression}`,
  text`derive ${value} from f by reassociate ${join("{", text`${value} into b`, "}")}`,
  fn,
);

const { action } = fc.letrec<{ action: string }>((tie) => ({
  action: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("F(down)", "W", "I(up)"),
    text`F(down, ${expression})`,
    text`overlap${join("(", fc.constantFrom("F(down)", "W", "if a then F(up) else W"), ")")}`,
    text`if ${expression} then ${join("{", tie("action"), "}")} else ${tie("action")}`,
  ),
}));

const item: Text = fc.oneof(
  text`rank r in ${dim}`,
  text`direction ${value}: stage ${expression}, r + P`,
  text`let ${value} = ${expression}`,
  text`phase ${value} for i in ${dim} ${join("{", action, "}", 0)}`,
  text`phase ${value} ${join("{", action, "}")}`,
);

const declaration: Text = fc.oneof(
  text`import std.nn ${join("{", value, "}")}`,
  fc.constant('import "./blocks.dsl" { Mlp }'),
  text`dim ${size}, ${size} = ${dim}, R[E]${facts}`,
  fc.constant("mesh ep, tp"),
  text`const ${value} = ${expression}`,
  fn,
  text`module Mla<W: weight> ${block(member)}`,
  fc.constant(
    `numerics Mla {${end}contract: e4m3 @ (1, 128), (128, 128)${end}accumulate: f32 every 128${end}bound: rel 2^-5${end}}`,
  ),
  fc.constant(`schedule Mla.f on sm_90a {${end}tile (S H) 64, T 64${end}stages 2${end}}`),
  text`pipeline Dual[P, M]${facts} ${block(item)}`,
  text`kernel ${value}${params} implements f ${block(statement)}`,
);

/** A whole program with `gap`s and `end`s in it. */
export const marked: Text = fc
  .array(declaration, { minLength: 1, maxLength: 4 })
  .map((list) => list.join(end));

/** Statements one a line, and no other line ends. */
export function plain(program: string): string {
  return program.replaceAll(gap, "").replaceAll(end, "\n");
}
