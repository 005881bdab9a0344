/** Device functions that stand above a kernel where it uses them: what C++ has no word for. */
import { instructions, isPtx, type OperandType, type PtxInstruction } from "../../kernel/instructions.ts";
import { instructionFunction } from "./instruction-name.ts";

const inline = "static __device__ __forceinline__";

/** `return` of one expression. */
function returns(head: string, expression: string): readonly string[] {
  return [`${inline} ${head} {`, `    return ${expression};`, "}"];
}

/** One PTX instruction from `x` to `y`. */
function assembly(
  head: string,
  result: string,
  text: string,
  constraints: readonly [string, string],
): readonly string[] {
  const [to, from] = constraints;
  return [
    `${inline} ${head} {`,
    `    ${result} y;`,
    `    asm("${text}" : "=${to}"(y) : "${from}"(x));`,
    "    return y;",
    "}",
  ];
}

const functions: Readonly<Record<string, readonly string[]>> = {
  bf16_to_float: returns("float bf16_to_float(bf16 x)", "__uint_as_float(unsigned(x) << 16)"),
  float_to_bf16: assembly("bf16 float_to_bf16(float x)", "bf16", "cvt.rn.bf16.f32 %0, %1;", ["h", "f"]),
  f16_to_float: assembly("float f16_to_float(f16 x)", "float", "cvt.f32.f16 %0, %1;", ["f", "h"]),
  float_to_f16: assembly("f16 float_to_f16(float x)", "f16", "cvt.rn.f16.f32 %0, %1;", ["h", "f"]),
  ...fp8("e4m3"),
  ...fp8("e5m2"),
  round_to_tf32: [
    `${inline} float round_to_tf32(float x) {`,
    "    unsigned y;",
    '    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));',
    "    return __uint_as_float(y);",
    "}",
  ],
  // The conversion gives the smallest value for a NaN.
  float_to_i64: returns("long long float_to_i64(float x)", "x == x ? __float2ll_rz(x) : 0ll"),
  i64_to_i32: returns(
    "int i64_to_i32(long long x)",
    "int(x < -2147483648ll ? -2147483648ll : x > 2147483647ll ? 2147483647ll : x)",
  ),
  i64_to_u32: returns(
    "unsigned i64_to_u32(long long x)",
    "unsigned(x < 0ll ? 0ll : x > 4294967295ll ? 4294967295ll : x)",
  ),
  to_i8: returns("i8 to_i8(long long x)", "i8(x < -128ll ? -128ll : x > 127ll ? 127ll : x)"),
  to_u8: returns("u8 to_u8(long long x)", "u8(x < 0ll ? 0ll : x > 255ll ? 255ll : x)"),
  low_half: returns("unsigned short low_half(unsigned x)", "(unsigned short)(x & 0xffffu)"),
  high_half: returns("unsigned short high_half(unsigned x)", "(unsigned short)(x >> 16)"),
  pack_halves: returns(
    "unsigned pack_halves(unsigned short low, unsigned short high)",
    "unsigned(low) | (unsigned(high) << 16)",
  ),
  byte_of: returns("unsigned char byte_of(unsigned x, int i)", "(unsigned char)(x >> (8 * i))"),
  pack_bytes: returns(
    "unsigned pack_bytes(unsigned char a, unsigned char b, unsigned char c, unsigned char d)",
    "unsigned(a) | (unsigned(b) << 8) | (unsigned(c) << 16) | (unsigned(d) << 24)",
  ),
  tensor_map: ["// CUtensorMap of cuda.h", "struct alignas(64) tensor_map { char bytes[128]; };"],
  group_barrier: [
    `${inline} void group_barrier(int barrier, int threads) {`,
    '    asm volatile("bar.sync %0, %1;" : : "r"(barrier), "r"(threads) : "memory");',
    "}",
  ],
  matrix_descriptor: [
    "// PTX ISA 9.7.15.5.1, Matrix descriptor format; offsets in bytes",
    `${inline} long long matrix_descriptor(const void* tile, unsigned leading, unsigned stride, unsigned swizzle) {`,
    "    const unsigned low = (unsigned(__cvta_generic_to_shared(tile)) >> 4 & 0x3fffu) | (leading >> 4 & 0x3fffu) << 16;",
    "    return (long long)((unsigned long long)((stride >> 4 & 0x3fffu) | swizzle << 30) << 32 | low);",
    "}",
  ],
  written: [
    "// What asynchronous instructions wrote is there from here on",
    `${inline} void written() {}`,
    "template <typename... Rest>",
    `${inline} void written(float& first, Rest&... rest) {`,
    '    asm volatile("" : "+f"(first) : : "memory");',
    "    written(rest...);",
    "}",
  ],
};

function fp8(format: "e4m3" | "e5m2"): Readonly<Record<string, readonly string[]>> {
  return {
    [`float_to_${format}`]: [
      `${inline} ${format} float_to_${format}(float x) {`,
      "    unsigned short y;",
      `    asm("cvt.rn.satfinite.${format}x2.f32 %0, %1, %2;" : "=h"(y) : "f"(0.0f), "f"(x));`,
      `    return ${format}(y);`,
      "}",
    ],
    [`${format}_to_float`]: [
      `${inline} float ${format}_to_float(${format} x) {`,
      "    unsigned halves;",
      `    asm("cvt.rn.f16x2.${format}x2 %0, %1;" : "=r"(halves) : "h"((unsigned short)x));`,
      "    return f16_to_float((f16)halves);",
      "}",
    ],
  };
}

const needs: Readonly<Record<string, readonly string[]>> = {
  e4m3_to_float: ["f16_to_float"],
  e5m2_to_float: ["f16_to_float"],
};

export const preludeNames: readonly string[] = [
  ...Object.keys(functions),
  ...[...instructions.keys()].map(instructionFunction),
];

/** Of the functions that were used and those that they use, in a fixed order. */
export function preludeLines(used: ReadonlySet<string>): readonly string[] {
  const all = new Set([...used].flatMap((name) => [...(needs[name] ?? []), name]));
  const lines = Object.entries(functions).flatMap(([name, text]) => (all.has(name) ? [...text, ""] : []));
  for (const record of instructions.values()) {
    if (isPtx(record) && all.has(instructionFunction(record.name)))
      lines.push(...instructionLines(record), "");
  }
  return lines;
}

const registers: Readonly<
  Partial<Record<OperandType, { readonly type: string; readonly constraint: string }>>
> = {
  f32: { type: "float", constraint: "f" },
  i32: { type: "int", constraint: "r" },
  u32: { type: "unsigned", constraint: "r" },
  h2: { type: "unsigned", constraint: "r" },
  b8x4: { type: "unsigned", constraint: "r" },
  i64: { type: "long long", constraint: "l" },
  bool: { type: "bool", constraint: "r" },
  map: { type: "const tensor_map*", constraint: "l" },
  shared: { type: "const void*", constraint: "r" },
  global: { type: "const void*", constraint: "l" },
};

/** The record's PTX as inline assembly. */
function instructionLines(record: PtxInstruction): readonly string[] {
  const parameters: string[] = [];
  const outputs: string[] = [];
  const inputs: string[] = [];
  for (const [i, type] of record.results.entries()) {
    const row = registers[type];
    parameters.push(`${row?.type ?? "unsigned"}& d${i}`);
    outputs.push(`"${record.destinations === "in-place" ? "+" : "="}${row?.constraint ?? "r"}"(d${i})`);
  }
  for (const [i, type] of record.operands.entries()) {
    const row = registers[type];
    parameters.push(`${row?.type ?? "unsigned"} a${i}`);
    inputs.push(`"${row?.constraint ?? "r"}"(${sent(type, `a${i}`)})`);
  }
  const operand = (i: number): string => `%${record.results.length + i}`;
  const dst = record.results.map((_, i) => `%${i}`);
  const operands = record.operands.map((type, i) => {
    if (type === "bool") return `p${i}`;
    return type === "shared" || type === "global" ? `[${operand(i)}]` : operand(i);
  });
  const predicates = record.operands.flatMap((type, i) =>
    type === "bool" ? [`.reg .pred p${i}; setp.ne.b32 p${i}, ${operand(i)}, 0; `] : [],
  );
  const text = record.ptx(dst, operands);
  const statement = text.startsWith("{") ? text : `${text};`;
  const assembled = predicates.length === 0 ? statement : `{ ${predicates.join("")}${statement} }`;
  return [
    `// PTX ISA ${record.section}`,
    ...list(`${inline} void ${instructionFunction(record.name)}(`, parameters, ") {"),
    `    asm volatile("${assembled}"`,
    ...list("                 : ", outputs),
    ...list("                 : ", inputs),
    `                 : "memory");`,
    "}",
  ];
}

/** What inline assembly is given for a parameter: it has no predicates, and shared memory by 32-bit addresses. */
function sent(type: OperandType, name: string): string {
  if (type === "bool") return `int(${name})`;
  return type === "shared" ? `unsigned(__cvta_generic_to_shared(${name}))` : name;
}

const widest = 110;

/** Items with commas between, on as many lines as they take. */
function list(head: string, items: readonly string[], tail = ""): readonly string[] {
  const lines: string[] = [];
  let line = head;
  for (const [i, item] of items.entries()) {
    const text = i + 1 < items.length ? `${item}, ` : item;
    if (line.length + text.length > widest) {
      lines.push(line.trimEnd());
      line = " ".repeat(head.startsWith(" ") ? head.length : 4);
    }
    line += text;
  }
  return [...lines, `${line}${tail}`];
}
