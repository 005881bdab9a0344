/**
 * One small kernel for each lane instruction of the table and each of its choices: 64 threads, each with operands
 * of its own, results as 8 bytes. ptxas says whether the text is valid, an H200 what the result is.
 */
import { rows } from "../../runtime/simulate/table/index.ts";
import type { LaneRow } from "../../runtime/simulate/table/row.ts";

export interface InstructionCase {
  /** The opcode with its modifiers. */
  readonly name: string;
  readonly ptx: string;
  /** 64 x 4 words of 64 bits. */
  readonly input: BigUint64Array;
  readonly resultType: string;
  readonly section: string;
}

export const threads = 64;

interface Part {
  readonly name: string;
  readonly alternatives: readonly string[];
  readonly optional: boolean;
}

function partsOf(pattern: string): Part[] {
  return pattern.split(".").map((text) => {
    const choice = /^(\w+)([?]|:(?!:))(.+)$/.exec(text);
    if (choice === null) return { name: "", alternatives: [text], optional: false };
    return { name: choice[1]!, alternatives: choice[3]!.split("|"), optional: choice[2] === "?" };
  });
}

/** Every alternative of every part at least once, the others at their first; types get every alternative with each. */
function choicesOf(parts: readonly Part[]): (string | undefined)[][] {
  const plain = parts.map((part) => (part.optional ? undefined : part.alternatives[0]));
  const list: (string | undefined)[][] = [];
  const types = parts.findIndex((part) => part.name === "type" || part.name === "to");
  const typeAlternatives = types < 0 ? [undefined] : parts[types]!.alternatives;
  for (const type of typeAlternatives) {
    const base = [...plain];
    if (types >= 0) base[types] = type;
    list.push(base);
    parts.forEach((part, i) => {
      if (i === types) return;
      for (const alternative of part.alternatives) {
        if (base[i] === alternative || part.name === "") continue;
        const variant = [...base];
        variant[i] = alternative;
        list.push(variant);
      }
    });
  }
  return list;
}

const bitsOf = (type: string): number =>
  type === "pred"
    ? 1
    : type.endsWith("x2")
      ? type.startsWith("e")
        ? 16
        : 32
      : Number(/\d+$/.exec(type)![0]);
const registerBits = (type: string): number => (type === "pred" ? 1 : Math.max(16, bitsOf(type)));

function operandType(spec: string, choices: Readonly<Record<string, string | undefined>>): string {
  if (spec.startsWith("2*")) {
    const narrow = choices[spec.slice(2)]!;
    return narrow[0]! + String(2 * Number(narrow.slice(1)));
  }
  if (spec === "bits") return `b${bitsOf(choices["type"]!)}`;
  return choices[spec] ?? spec;
}

function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

const f32Specials = [
  0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x80000001, 0x007fffff,
  0x00800000, 0x7f7fffff, 0x3f000000, 0x40490fdb, 0x4f000000, 0xcf000000, 0x33800000, 0x477fe000,
];
const f16Specials = [
  0, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 1, 0x8001, 0x03ff, 0x0400, 0x7bff, 0x3800, 0x4248,
];
const bf16Specials = [
  0, 0x8000, 0x3f80, 0xbf80, 0x7f80, 0xff80, 0x7fc0, 1, 0x8001, 0x007f, 0x0080, 0x7f7f, 0x3f00, 0x4049,
];
const f64Specials = [
  0n,
  1n << 63n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  1n,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0x41dfffffffc00000n,
];
const integerSpecials = [
  0n,
  1n,
  2n,
  31n,
  32n,
  63n,
  64n,
  255n,
  0x7fn,
  0x80n,
  0xffffn,
  0x8000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
];

/** A value of a type: the special ones first, then random ones of every size. */
function valueOf(type: string, thread: number, operand: number, next: () => number): bigint {
  const pick = thread * 5 + operand * 7;
  const random = (BigInt(next()) << 32n) | BigInt(next());
  const special = thread < 32;
  if (type === "f64")
    return special
      ? f64Specials[pick % f64Specials.length]!
      : (random & 0x8000ffffffffffffn) | (BigInt(1003 + (next() % 40)) << 52n);
  if (type === "f32")
    return BigInt(
      special
        ? f32Specials[pick % f32Specials.length]!
        : ((next() & 0x807fffff) | ((107 + (next() % 40)) << 23)) >>> 0,
    );
  const half = (specials: readonly number[], shift: number, middle: number): number =>
    special
      ? specials[(pick + shift) % specials.length]!
      : (next() & 0x83ff) | ((middle + (next() % 6)) << 10);
  if (type === "f16") return BigInt(half(f16Specials, 0, 12));
  if (type === "f16x2") return BigInt(((half(f16Specials, 3, 12) << 16) | half(f16Specials, 0, 12)) >>> 0);
  const brain = (shift: number): number =>
    special
      ? bf16Specials[(pick + shift) % bf16Specials.length]!
      : (next() & 0x807f) | ((117 + (next() % 20)) << 7);
  if (type === "bf16") return BigInt(brain(0));
  if (type === "bf16x2") return BigInt(((brain(3) << 16) | brain(0)) >>> 0);
  const value = special ? integerSpecials[pick % integerSpecials.length]! : random >> BigInt(next() % 60);
  return BigInt.asUintN(Math.max(1, bitsOf(type)), value);
}

/** f16x2 rows with `b32` operands hold halves; the compare and convert rows say so by their choices. */
function inputType(type: string, choices: Readonly<Record<string, string | undefined>>): string {
  const packed = choices["type"] ?? choices["from"];
  return type === "b32" && packed !== undefined && /^b?f16x2$/.test(packed)
    ? packed
    : type === "b16" && /^b?f16$/.test(packed ?? "")
      ? packed!
      : type;
}

const constants: Readonly<Record<string, string>> = { table: "0xe8" };

function makeCase(
  row: LaneRow,
  parts: readonly Part[],
  picked: readonly (string | undefined)[],
  seed: number,
): InstructionCase | undefined {
  const choices: Record<string, string | undefined> = {};
  parts.forEach((part, i) => {
    if (part.name !== "" && picked[i] !== undefined) choices[part.name] = picked[i];
  });
  const opcode = picked.filter((word) => word !== undefined).join(".");
  const specs = row.operands.split(" ").map((text) => {
    const [name, spec = "type"] = text.split(":") as [string, string?];
    return { name, type: operandType(spec, choices) };
  });
  const [result, ...sources] = specs;
  const next = generator(seed);
  const input = BigUint64Array.from({ length: threads * 4 }, (_, i) => {
    const source = sources[i & 3];
    return source === undefined ? 0n : valueOf(inputType(source.type, choices), i >> 2, i & 3, next);
  });
  const declare = (name: string, type: string): string =>
    `.reg .${type === "pred" ? "pred" : `b${registerBits(type)}`} ${name};`;
  const load = (name: string, type: string, i: number): string => {
    if (type === "pred") return `ld.global.b32 w, [in+${8 * i}]; setp.ne.u32 ${name}, w, 0;`;
    return `ld.global.b${registerBits(type)} ${name}, [in+${8 * i}];`;
  };
  const operands = sources.map((source) => constants[source.name] ?? `v${source.name}`);
  const store =
    result!.type === "pred"
      ? "selp.b32 w, 1, 0, vd; st.global.b32 [out], w;"
      : `st.global.b${registerBits(result!.type)} [out], vd;`;
  const loads = sources
    .filter((source) => constants[source.name] === undefined)
    .map((source) => load(`v${source.name}`, source.type, sources.indexOf(source)));
  // Extended precision: the carry in is that of the sum of the first two operands.
  const carry = /^(addc|subc|madc)/.test(opcode)
    ? opcode.startsWith("subc")
      ? "sub.cc.u32 w, w, 1;"
      : "add.cc.u32 w, w, 0xffffffff;"
    : "";
  const after = /\.cc\./.test(opcode) ? "addc.u32 w, 0, 0; st.global.b32 [out+4], w;" : "";
  const ptx = `.version 8.5
.target sm_90a
.address_size 64
.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .b64 in, out, o; .reg .b32 w, t;
  ${declare("vd", result!.type)} ${sources.map((source) => declare(`v${source.name}`, source.type)).join(" ")}
  ld.param.u64 in, [pIn]; ld.param.u64 out, [pOut];
  cvta.to.global.u64 in, in; cvta.to.global.u64 out, out;
  mov.u32 t, %tid.x;
  mul.wide.u32 o, t, 32; add.u64 in, in, o;
  mul.wide.u32 o, t, 8; add.u64 out, out, o;
  mov.b64 o, 0; st.global.b64 [out], o;
  ${loads.join("\n  ")}
  and.b32 w, t, 1; ${carry}
  ${opcode} vd, ${operands.join(", ")};
  ${store}
  ${result!.type.endsWith("64") ? "" : after}
  ret;
}
`;
  return { name: opcode, ptx, input, resultType: result!.type, section: row.section };
}

/** Rows that are about addresses, which differ from machine to machine. */
const aboutAddresses = /^(cvta|isspacep|mapa|getctarank)/;

/** Each rounding of each source: what is rounded depends on both. */
function roundingsOf(parts: readonly Part[]): (string | undefined)[][] {
  const [to, rounding, from] = ["to", "rnd", "from"].map((name) =>
    parts.findIndex((part) => part.name === name),
  );
  if (to === undefined || rounding === undefined || from === undefined) return [];
  const of = (k: number): readonly string[] => parts[k]?.alternatives ?? [];
  return of(to).flatMap((result) =>
    of(rounding).flatMap((mode) =>
      of(from).map((source) => {
        const picked = parts.map((part) => (part.optional ? undefined : part.alternatives[0]));
        [picked[to], picked[rounding], picked[from]] = [result, mode, source];
        return picked;
      }),
    ),
  );
}

export function instructionCases(): InstructionCase[] {
  const cases = new Map<string, InstructionCase>();
  let seed = 1;
  const add = (choose: (parts: readonly Part[]) => (string | undefined)[][]): void => {
    for (const row of rows) {
      if (!("is" in row) || aboutAddresses.test(row.pattern)) continue;
      const parts = partsOf(row.pattern);
      for (const picked of choose(parts)) {
        const made = makeCase(row, parts, picked, seed++);
        if (made !== undefined && !cases.has(made.name)) cases.set(made.name, made);
      }
    }
  };
  add(choicesOf);
  add(roundingsOf);
  return [...cases.values()];
}
