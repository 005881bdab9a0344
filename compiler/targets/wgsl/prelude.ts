/** Functions and values that emitted WGSL has of its own, where it uses them. */

const functions: Readonly<Record<string, readonly string[]>> = {
  // A NaN is told by its bits: comparisons of floats may be compiled as if there were none.
  to_i32: [
    "fn to_i32(x: f32) -> i32 {",
    "  if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) {",
    "    return 0;",
    "  }",
    "  if (x >= 2147483648.0) {",
    "    return 2147483647;",
    "  }",
    "  return i32(max(x, -2147483648.0));",
    "}",
  ],
  to_u32: [
    "fn to_u32(x: f32) -> u32 {",
    "  if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) {",
    "    return 0u;",
    "  }",
    "  if (x >= 4294967296.0) {",
    "    return 4294967295u;",
    "  }",
    "  return u32(max(x, 0.0));",
    "}",
  ],
};

/** By name: its bits. A constant expression may not be infinite or NaN, so the bits pass through a variable. */
const values: Readonly<Record<string, string>> = {
  infinity: "0x7f800000u",
  minus_infinity: "0xff800000u",
  not_a_number: "0x7fc00000u",
};

export const preludeNames: readonly string[] = [
  ...Object.keys(functions),
  ...Object.keys(values),
  ...Object.keys(values).map((name) => `${name}_bits`),
];

export function preludeFunctions(used: ReadonlySet<string>): readonly string[] {
  return Object.entries(functions).flatMap(([name, lines]) => (used.has(name) ? [...lines, ""] : []));
}

/** Statements at the start of the kernel. */
export function preludeValues(used: ReadonlySet<string>): readonly string[] {
  return Object.entries(values).flatMap(([name, bits]) =>
    used.has(name) ? [`var ${name}_bits = ${bits};`, `let ${name} = bitcast<f32>(${name}_bits);`] : [],
  );
}
