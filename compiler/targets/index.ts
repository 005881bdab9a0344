/** The targets, and how a user names one: `ptx`, `ptx:sm_80`, `wgsl`. */
import type { Caps } from "../kernel/ir.ts";
import { cuda } from "./cuda/index.ts";
import { js } from "./js/index.ts";
import { ptx } from "./ptx/index.ts";
import type { Target } from "./target.ts";
import { wgsl } from "./wgsl/index.ts";

export const targets: readonly Target[] = [ptx, cuda, wgsl, js];

export interface ChosenTarget {
  readonly target: Target;
  readonly caps: Caps;
}

/** Undefined where there is no such target or variant; `targetNames` lists what there is. */
export function parseTarget(text: string): ChosenTarget | undefined {
  const [name = "", variant, ...rest] = text.split(":");
  const target = targets.find((candidate) => candidate.name === name);
  if (target === undefined || rest.length > 0) return undefined;
  if (variant !== undefined && !target.variants.includes(variant)) return undefined;
  return { target, caps: target.caps(variant ?? target.variants[0] ?? "") };
}

/** `ptx`, `ptx:sm_90a`, `ptx:sm_80`, `cuda`, .. */
export const targetNames: readonly string[] = targets.flatMap(({ name, variants }) => [
  name,
  ...variants.map((variant) => `${name}:${variant}`),
]);
