/** PTX for NVIDIA GPUs, sm_80 and sm_90a: assembled by the driver, no toolkit needed. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Caps } from "../../kernel/ir.ts";
import { legalize } from "../../kernel/legalize/index.ts";
import { architectures, nvidiaCaps } from "../nvidia/caps.ts";
import type { Target } from "../target.ts";
import { shareAddresses } from "./addresses.ts";
import { unaryFunctions } from "./arithmetic.ts";
import { emitPtx } from "./emit.ts";
import { remakeSteps } from "./matrix-steps.ts";

export const ptx: Target = {
  name: "ptx",
  variants: architectures.map(({ name }) => name),
  extension: ".ptx",
  caps: (variant: string): Caps => {
    const architecture = architectures.find(({ name }) => name === variant);
    invariant(architecture !== undefined, `ptx has no ${variant}`);
    return nvidiaCaps(architecture, { target: `ptx:${variant}`, unary: unaryFunctions });
  },
  // Last, since legalize makes new indices where it splits accesses, and builders make equal sums one.
  legalize: (kernel, caps) => remakeSteps(shareAddresses(legalize(kernel, caps))),
  emit: emitPtx,
};
