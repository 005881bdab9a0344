/** Plain JavaScript: runs everywhere, with no dependency. */
import { legalize } from "../../kernel/legalize/index.ts";
import type { Target } from "../target.ts";
import { jsCaps } from "./caps.ts";
import { emitJs } from "./emit.ts";

export const js: Target = {
  name: "js",
  variants: [],
  extension: ".js",
  caps: () => jsCaps,
  legalize,
  emit: emitJs,
};
