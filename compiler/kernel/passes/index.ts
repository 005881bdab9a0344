/** What every kernel goes through before its target's legalize, in order. */
import type { Kernel } from "../ir.ts";
import { removeUnused } from "../legalize/unused.ts";
import { hoist } from "./hoist.ts";
import { prefetchMaps } from "./prefetch-maps.ts";

/** Hoisting first: an address that is computed in a loop and used nowhere else is dropped where it lands. */
export function improve(kernel: Kernel): Kernel {
  return prefetchMaps(removeUnused(hoist(kernel)));
}
