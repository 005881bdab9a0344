/** What the verifier and the interpreter refuse: each kernel breaks one rule. */
import { describe, expect, test } from "vitest";
import { interpretKernel } from "../../compiler/kernel/interpret.ts";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";

function kernel(body: string, threads = 4): string {
  return `kernel "k" threads ${threads} grid (2, 1, 1)
  summary "s"
  size "n" = N
  global @0_x: f32[8] read align 16
  global @1_y: f32[8] read-write align 16
  global @2_h: f16[8] read-write align 16
  global @3_u: u32[8] read-write align 16
  shared @4_s: f32[4] align 16
{
  %0_thread: i32 = thread
  %1: i32 = const 0
  %2: f32 = const 1.0
  %3: bool = lt %0_thread, %1
  %4_x: f32 = load @0_x[%0_thread]
  %5: u32 = const 1
  ${body}
}
`;
}

const broken: Readonly<Record<string, readonly [string, string]>> = {
  "an operand of another type": ["%6: i32 = add %0_thread, %2", "binary: the operands have types i32, f32"],
  "a float shift": ["%6: f32 = shl %2, %5", "binary: shl of f32"],
  "a comparison that is no bool": ["%6: i32 = lt %0_thread, %1", "binary: a comparison is i32, not bool"],
  "sin of an integer": ["%6: i32 = sin %0_thread", "unary: sin of i32"],
  "a select of a number": ["%6: f32 = select %0_thread, %2, %2", "select: the condition is i32, not bool"],
  "a conversion of halves that skips f32": [
    "%6: f16 = convert %0_thread",
    "convert: convert from i32 to f16 goes by f32",
  ],
  "a byte without its format": ["%6: b8 = convert %2", "convert: a byte's format is missing"],
  "a bitcast of a bool": ["%6: u32 = bitcast %3", "bitcast: bitcast from bool to u32"],
  "a store to what is only read": ["store @0_x[%1] = %2", "store: x is only read"],
  "a float index": ["store @1_y[%2] = %2", "store: an index of type f32"],
  "an element of another type": ["store @2_h[%1] = %2", "store: the element is f32, not f16"],
  "three elements at once": ["store @1_y[%1] = %2, %2, %2", "store: 3 elements of f32 at once"],
  "a guard that is no bool": ["store @1_y[%1] = %2 if %0_thread", "store: the guard is i32, not bool"],
  "an atomic on f32": ["atomic add @1_y[%1] = %2", "atomic: an atomic on f32"],
  "a register of another type": ["var $0_r: i32 = %2", "var: the first value is f32, not i32"],
  "a size that is not there": ["%6: i32 = size 3", "size: there is no size 3"],
  "a file that is not there": ["line 0 1 1", "line: there is no file 0"],
  "a barrier that some threads skip": ["if %3 {\n    barrier\n  }", "barrier: not all threads arrive here"],
  "a barrier in a loop of unlike lengths": [
    "for %6: i32 = %1 to %0_thread step 1 {\n    barrier\n  }",
    "barrier: not all threads arrive here",
  ],
  "a barrier behind a register set apart": [
    "var $0_r: i32 = %1\n  if %3 {\n    set $0_r = %1\n  }\n  %6: i32 = get $0_r\n  %7: bool = eq %6, %1\n  if %7 {\n    barrier\n  }",
    "barrier: not all threads arrive here",
  ],
  "an instruction nobody knows": [
    'instruction "frobnicate" ()',
    "instruction: there is no instruction frobnicate",
  ],
  "a loop that does not advance": ["for %6: i32 = %1 to %0_thread step 0 {\n  }", "for: step 0"],
};

describe("the verifier refuses", () => {
  test("nothing in a good kernel", () => {
    expect(verifyKernel(parseKernel(kernel("barrier")))).toEqual([]);
  });
  for (const [name, [body, message]] of Object.entries(broken)) {
    test(name, () => {
      expect(verifyKernel(parseKernel(kernel(body))).map((found) => found.message)).toEqual([message]);
    });
  }
  test("a value used outside of the body that defines it", () => {
    const text = kernel("if %3 {\n    %6: f32 = neg %2\n  }\n  store @1_y[%1] = %6");
    expect(verifyKernel(parseKernel(text)).map((found) => found.message)).toEqual([
      "store: %6 () is not defined here",
    ]);
  });
});

const faults: Readonly<Record<string, readonly [string, RegExp]>> = {
  "an index beyond the end": [
    "%6: i32 = const 8\n  store @1_y[%6] = %2",
    /write of elements 8\.\.8 outside of the 8 of y, by thread 0 of block 0/,
  ],
  "a negative index": ["%6: i32 = const -1\n  %7: f32 = load @1_y[%6]", /read of elements -1\.\.-1 outside/],
  "a wide access off its alignment": [
    "%6: i32 = const 1\n  %7: f32, %8: f32 = load @0_x[%6]",
    /no multiple of 2/,
  ],
  "two threads that write one place": ["store @1_y[%1] = %2", /races with another thread/],
  "shared memory read before a barrier": [
    "store @4_s[%0_thread] = %2\n  %6: i32 = const 3\n  %7: i32 = sub %6, %0_thread\n  %8: f32 = load @4_s[%7]",
    /races with another thread/,
  ],
  "blocks that write one place": ["store @1_y[%0_thread] = %2", /races with another thread/],
  "a shuffle with a lane that is not there": [
    "%6: f32 = shuffle-xor %2, 4",
    /shuffles with lane 4, which is not there/,
  ],
};

describe("the interpreter refuses", () => {
  for (const [name, [body, message]] of Object.entries(faults)) {
    test(name, () => {
      const parsed = parseKernel(kernel(body));
      expect(verifyKernel(parsed)).toEqual([]);
      const buffers = [32, 32, 16, 32].map((bytes) => new Uint8Array(bytes));
      expect(() => interpretKernel(parsed, { buffers, sizes: [1], grid: [2, 1, 1], subgroup: 4 })).toThrow(
        message,
      );
    });
  }
  test("nothing where a barrier stands between", () => {
    const body =
      "store @4_s[%0_thread] = %4_x\n  barrier\n  %6: i32 = const 3\n  %7: i32 = sub %6, %0_thread\n  %8: f32 = load @4_s[%7]\n  %9: i32 = block 0\n  %10: i32 = const 4\n  %11: i32 = mul %9, %10\n  %12: i32 = add %11, %0_thread\n  store @1_y[%12] = %8";
    const buffers = [
      new Uint8Array(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]).buffer),
      ...[32, 16, 32].map((bytes) => new Uint8Array(bytes)),
    ];
    interpretKernel(parseKernel(kernel(body)), { buffers, sizes: [1], grid: [2, 1, 1], subgroup: 4 });
    expect([...new Float32Array(buffers[1]?.slice().buffer ?? new ArrayBuffer(0))]).toEqual([
      4, 3, 2, 1, 4, 3, 2, 1,
    ]);
  });
});
