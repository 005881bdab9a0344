/**
 * Rounds two f32 to 16-bit floats, to nearest even, and packs them: the second operand is the low half (PTX ISA
 * 9.7.9.21, "cvt").
 */
import { encodeFloat, storageFormat } from "../small-float.ts";
import type { Instruction } from "./instruction.ts";

export const packConvertInstructions: readonly Instruction[] = (["bf16", "f16"] as const).map((format) => ({
  name: `cvt.rn.${format}x2`,
  section: "9.7.9.21",
  results: ["h2"],
  destinations: "defined",
  operands: ["f32", "f32"],
  precondition: "none",
  scope: "thread",
  align: 1,
  evaluate: (warp) => {
    for (const lane of warp.active) {
      const [high = 0, low = 0] = [0, 1].map((position) =>
        encodeFloat(storageFormat(format), warp.operand(position, lane)),
      );
      warp.define(0, lane, (low | (high << 16)) >>> 0);
    }
  },
  ptx: ([dst = ""], [high = "", low = ""]) => `cvt.rn.${format}x2.f32 ${dst}, ${high}, ${low}`,
  needs: { sm: 80, isa: [7, 0] },
}));
