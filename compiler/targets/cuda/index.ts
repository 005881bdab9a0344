/** Readable CUDA C++ of the same kernels, for nvcc and NVRTC. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Caps } from "../../kernel/ir.ts";
import { legalize } from "../../kernel/legalize/index.ts";
import { architectures, nvidiaCaps } from "../nvidia/caps.ts";
import type { Target } from "../target.ts";
import { unaryFunctions } from "./dialect.ts";
import { emitCuda } from "./emit.ts";

export const cuda: Target = {
  name: "cuda",
  variants: architectures.map(({ name }) => name),
  extension: ".cu",
  caps: (variant: string): Caps => {
    const architecture = architectures.find(({ name }) => name === variant);
    invariant(architecture !== undefined, `cuda has no ${variant}`);
    const caps = nvidiaCaps(architecture, { target: `cuda:${variant}`, unary: unaryFunctions });
    // `const __restrict__` tells nvcc that nobody writes what is read: loads would go ahead of a wait.
    return { ...caps, instructions: caps.instructions.filter((name) => name !== "predecessor.await") };
  },
  legalize,
  emit: (kernel) => emitCuda(kernel),
};
