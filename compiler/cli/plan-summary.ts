/** A plan for people: one line a launch, with what the target's ceilings allow. */
import type { Plan } from "../plan/plan.ts";
import { SizeError, evaluateCount } from "../../runtime/plan/size.ts";
import { table } from "./table.ts";

export function planSummary(plan: Plan): string {
  const { dynamic, bound } = plan.dims;
  const dims = [
    ...Object.entries(bound).map(([name, value]) => `${name}=${value}`),
    ...dynamic.map((name) => `${name} dynamic`),
  ];
  const head = `${plan.program} for ${plan.target}${dims.length === 0 ? "" : `: ${dims.join(", ")}`}`;
  const row = (launch: Plan["launches"][number]): readonly string[] => {
    const kernel = plan.kernels[launch.kernel];
    if (kernel === undefined) return [];
    const [bytes, flops] = [valueOf(kernel.bytes), valueOf(kernel.flops)];
    const known = bytes !== undefined && flops !== undefined;
    const seconds = known
      ? Math.max(bytes / kernel.roofline.bandwidth, flops / kernel.roofline.flops)
      : undefined;
    return [
      kernel.name,
      gridText(launch.grid),
      String(kernel.threads),
      bytes === undefined ? clipped(kernel.bytes) : `${amount(bytes)}B`,
      flops === undefined ? clipped(kernel.flops) : `${amount(flops)}FLOP`,
      seconds === undefined ? "-" : time(seconds),
      kernel.summary,
    ];
  };
  const titles = ["kernel", "grid", "threads", "moved", "work", "at best", ""];
  const once =
    plan.preparation.length === 0
      ? []
      : ["once for the same parameters:", ...table(titles, plan.preparation.map(row)), "each run:"];
  const temporary = valueOf(plan.temporaryBytes);
  const foot = `temporaries: ${temporary === undefined ? plan.temporaryBytes : `${amount(temporary)}B`}`;
  return [head, ...once, ...table(titles, plan.launches.map(row)), foot].join("\n");
}

/** Without the axes at the end that have one block. */
function gridText(grid: readonly string[]): string {
  const used = grid.findLastIndex((size) => size !== "1");
  return clipped(grid.slice(0, Math.max(used, 0) + 1).join(" x "));
}

/** A formula as far as a column of a table has room; the whole of it is in the plan. */
function clipped(text: string): string {
  return text.length > 40 ? `${text.slice(0, 38)}..` : text;
}

/** A size that needs no dim, else undefined. */
function valueOf(size: string): number | undefined {
  try {
    return evaluateCount(size, new Map());
  } catch (error) {
    if (error instanceof SizeError) return undefined;
    throw error;
  }
}

/** `1.5 M`. */
export function amount(value: number): string {
  const units = ["", "k", "M", "G", "T", "P"];
  const step = Math.min(Math.max(Math.floor(Math.log10(Math.max(value, 1)) / 3), 0), units.length - 1);
  return `${Number((value / 1000 ** step).toPrecision(3))} ${units[step] ?? ""}`;
}

/** `12.3 us`. */
export function time(seconds: number): string {
  if (seconds >= 1) return `${Number(seconds.toPrecision(3))} s`;
  const [scale, unit] = seconds >= 1e-3 ? [1e3, "ms"] : [1e6, "us"];
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`;
}
