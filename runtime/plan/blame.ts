/** A device's own words, with the kernel's name and the source line that it comes from. */
import type { PlanKernel } from "../../compiler/plan/plan.ts";

/** Source place of a line of a kernel's text: that of the last entry at or before it. */
export function sourceOf(kernel: PlanKernel, line: number): string | undefined {
  return kernel.lines.findLast((entry) => entry.line <= line)?.source;
}

/** `kernel softmax (model.dsl:3:5), softmax.wgsl:17: no matching overload ..`. `line` is in the kernel's file, or undefined. */
export function kernelMessage(kernel: PlanKernel, words: string, line: number | undefined): string {
  const place = line === undefined || line < 1 ? kernel.file : `${kernel.file}:${line}`;
  const source = sourceOf(kernel, line === undefined || line < 1 ? Infinity : line);
  return `kernel ${kernel.name}${source === undefined ? "" : ` (${source})`}, ${place}: ${words.trim()}`;
}
