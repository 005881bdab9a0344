/** What the verifier refuses of roles, groups, maps, descriptors and products under way: each kernel breaks one rule. */
import { describe, expect, test } from "vitest";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { printKernel } from "../../compiler/kernel/print.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";

function kernel(
  math: string,
  { copy = "", head = "map @m0_x = @0_x: [64, 64] box [64, 64] swizzle 128", top = "" } = {},
): string {
  return `kernel "k" threads 256 grid (1, 1, 1)
  summary "s"
  global @0_x: bf16[4096] read align 16
  shared @1_s: bf16[4096] align 1024
  shared @2_bar: i64[1] align 16
  ${head}
{
  %0_thread: i32 = thread
  %1: i32 = const 0
  %2: bool = const true
  %3: i32 = const 7
  %4: i32 = div %0_thread, %3
  %5: i32 = const 128
  %6_group: i32 = div %0_thread, %5
  %7: bool = eq %4, %1
  %8: bool = eq %6_group, %1
  %9: i64 = descriptor @1_s[%1] leading 16 stride 1024 swizzle 128
  var $0: f32
  var $1: f32
  var $2: f32
  var $3: f32
  ${top}
  roles {
    role math 128 {
      ${math}
    }
    role copy 128 {
      ${copy}
    }
  }
}
`;
}

const product = '$0, $1, $2, $3 = instruction "wgmma.m64n8k16.bf16.k.k" (%9, %9, %2)';
const fence = 'instruction "wgmma.fence" ()';
const commit = 'instruction "wgmma.commit" ()';
const wait = (pending: number): string => `instruction "wgmma.wait.${pending}" ()`;
const lines = (...all: readonly string[]): string => all.join("\n");

const messages = (text: string): readonly string[] =>
  verifyKernel(parseKernel(text)).map(({ message }) => message);

const good: Readonly<Record<string, string>> = {
  "a product, waited for": kernel(lines(fence, product, product, commit, wait(0), "%10: f32 = get $0")),
  "a product of a warpgroup's own": kernel(`if %8 {\n${lines(fence, product, commit, wait(0))}\n}`),
  "a barrier of each role": kernel("barrier 1 of 128", { copy: "barrier 1 of 128" }),
};

const broken: Readonly<Record<string, readonly [string, string]>> = {
  "a block's barrier in a role": [
    kernel("barrier"),
    "barrier: all of the block's threads meet, and this is a role's",
  ],
  "a group of more than the role": [
    kernel("barrier 1 of 256"),
    "barrier: groups of 256 of the 128 threads from 0",
  ],
  "barriers that there are not": [kernel("barrier 16 of 128"), "barrier: barriers 16 to 16, of 1 to 15"],
  "roles in a loop": [
    kernel("", { top: "if %2 {\n roles {\n role a 256 {\n }\n }\n }" }),
    "roles: roles stand at the top of a kernel only",
  ],
  "roles of fewer threads": [
    kernel("", { top: "roles {\n role a 128 {\n }\n }" }),
    "roles: roles of 128 threads in a block of 256",
  ],
  "a map of other elements": [
    kernel("", { head: "map @m0_x = @0_x: [64, 32] box [64, 32] swizzle 64" }),
    "k: map x does not have as many elements as x",
  ],
  "a box that the swizzle does not fit": [
    kernel("", { head: "map @m0_x = @0_x: [64, 64] box [64, 32] swizzle 128" }),
    "k: map x has rows of 64 bytes in a box, and a swizzle of 128",
  ],
  "a load of another rank": [
    kernel('instruction "tensor.load.1d" (@1_s[%1], @m0_x, %1, @2_bar[%1])'),
    "instruction: tensor.load.1d: map x has 2 dims",
  ],
  "a barrier that is no i64": [
    kernel('instruction "mbarrier.arrive" (@1_s[%1])'),
    "instruction: mbarrier.arrive: an mbarrier is no bf16",
  ],
  "an accumulator in flight": [
    kernel(lines(fence, product, commit, "%10: f32 = get $1", wait(0))),
    "get: $1 () is in flight",
  ],
  "an accumulator that the wait leaves": [
    kernel(lines(fence, product, commit, wait(1), "%10: f32 = get $1", wait(0))),
    "get: $1 () is in flight",
  ],
  "an accumulator in flight from the trip before": [
    kernel(
      `for %10: i32 = %1 to %3 step 1 {\n${lines("%11: f32 = get $2", fence, product, commit)}\n}\n${wait(0)}`,
    ),
    "get: $2 () is in flight",
  ],
  "a product where threads part": [
    kernel(`if %7 {\n${lines(fence, product, commit, wait(0))}\n}`),
    "wgmma.fence: not all threads arrive here",
  ],
};

describe("the verifier of roles", () => {
  for (const [name, text] of Object.entries(good)) {
    test(`takes ${name}`, () => {
      expect(messages(text)).toEqual([]);
      const printed = printKernel(parseKernel(text));
      expect(printKernel(parseKernel(printed))).toBe(printed);
    });
  }
  for (const [name, [text, message]] of Object.entries(broken)) {
    test(`refuses ${name}`, () => expect(messages(text)[0]).toBe(message));
  }
  test("refuses a product behind no fence since its registers were touched", () => {
    const text = kernel(lines(product, commit, wait(0)));
    expect(messages(text)).toContain("instruction: $3 () is not behind a wgmma.fence since it was touched");
  });
});
