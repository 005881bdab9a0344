/** WGSL for any WebGPU device. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { legalize } from "../../kernel/legalize/index.ts";
import { joinLanes } from "../../kernel/legalize/lanes.ts";
import type { Target } from "../target.ts";
import { wgslVariants } from "./caps.ts";
import { emitWgsl } from "./emit.ts";

export const wgsl: Target = {
  name: "wgsl",
  variants: Object.keys(wgslVariants),
  extension: ".wgsl",
  caps: (variant) => {
    const caps = wgslVariants[variant];
    invariant(caps !== undefined, `wgsl has no ${variant}`);
    return caps;
  },
  legalize: (kernel, caps) => joinLanes(legalize(kernel, caps)),
  emit: emitWgsl,
};
