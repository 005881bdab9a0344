/** What `weft bench` says: times, and what they are of the ceilings. Bytes and FLOPs are the plan's, counted from its IR. */
import type { Plan } from "../plan/plan.ts";
import type { Measurement } from "../../runtime/device.ts";
import type { Dims } from "../../runtime/plan/size.ts";
import { evaluateCount } from "../../runtime/plan/size.ts";
import { amount, time } from "./plan-summary.ts";
import { table } from "./table.ts";

export interface BenchReport {
  readonly program: string;
  readonly device: string;
  readonly target: string;
  readonly dims: Readonly<Record<string, number>>;
  /** Whose clock the times are read on. */
  readonly clock: Measurement["clock"];
  readonly samples: number;
  readonly inputs: BenchInputs;
  /** Bytes a second that a compiled kernel copied in this run, read and written together. */
  readonly copy: { readonly bytesPerSecond: number; readonly bytes: number; readonly seconds: number };
  /** In the plan's order. */
  readonly kernels: readonly BenchRow[];
  readonly total: BenchRow;
}

export interface BenchInputs {
  /** "rotated": each run has the next set. "warm": all have the same. "cold": the cache is flushed before each. */
  readonly mode: "rotated" | "warm" | "cold";
  readonly sets: number;
  /** Of one set, results included. */
  readonly bytes: number;
  /** Of the device's cache; null where it does not tell. */
  readonly cacheBytes: number | null;
}

export interface BenchRow {
  readonly name: string;
  /** Median, least and most of the samples. */
  readonly seconds: number;
  readonly least: number;
  readonly most: number;
  readonly bytes: number;
  readonly flops: number;
  /** FLOP/s of the unit that the kernel runs on, from the target's table; null for kernels of several units. */
  readonly peak: number | null;
  /** Bytes a second over the copy's; FLOP/s over the peak; the time that both ceilings allow over the time taken. */
  readonly ofCopy: number;
  readonly ofPeak: number | null;
  readonly ofCeiling: number;
}

/** Rows of a measured plan: its kernels, and all of it. */
export function rowsOf(
  plan: Plan,
  dims: Dims,
  measured: Measurement,
  copyRate: number,
): Pick<BenchReport, "kernels" | "total"> {
  const parts = measured.launches.map(({ kernel, seconds }) => {
    const spec = plan.kernels[kernel];
    const [bytes, flops] = [evaluateCount(spec?.bytes ?? "0", dims), evaluateCount(spec?.flops ?? "0", dims)];
    const peak = spec?.roofline.flops ?? Infinity;
    const best = Math.max(bytes / copyRate, flops / peak);
    return { name: spec?.name ?? "", seconds, bytes, flops, peak, best };
  });
  const sum = (of: (part: (typeof parts)[number]) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const peaks = new Set(parts.map(({ peak }) => peak));
  const [only] = peaks;
  const all = {
    name: "all",
    seconds: measured.runs,
    bytes: sum(({ bytes }) => bytes),
    flops: sum(({ flops }) => flops),
    peak: peaks.size === 1 && only !== undefined ? only : null,
    best: sum(({ best }) => best),
  };
  return { kernels: parts.map((part) => rowOf(part, copyRate)), total: rowOf(all, copyRate) };
}

interface Part {
  readonly name: string;
  readonly seconds: readonly number[];
  readonly bytes: number;
  readonly flops: number;
  readonly peak: number | null;
  /** Seconds that the ceilings allow. */
  readonly best: number;
}

function rowOf({ name, seconds: samples, bytes, flops, peak, best }: Part, copyRate: number): BenchRow {
  const seconds = median(samples);
  const share = (ideal: number): number => (seconds > 0 ? ideal / seconds : 0);
  return {
    name,
    seconds,
    least: Math.min(...samples),
    most: Math.max(...samples),
    bytes,
    flops,
    peak,
    ofCopy: share(bytes / copyRate),
    ofPeak: peak === null ? null : share(flops / peak),
    ofCeiling: share(best),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

export function benchText(report: BenchReport): string {
  const sizes = Object.entries(report.dims).map(([name, value]) => `${name}=${value}`);
  const { inputs, copy, total } = report;
  const peaks = [...new Set(report.kernels.map(({ peak }) => `${amount(peak ?? 0)}FLOP/s`))];
  const lines = [
    `${report.program} on ${report.device}${sizes.length === 0 ? "" : ` with ${sizes.join(", ")}`}`,
    `${inputsText(inputs)}; median of ${report.samples} samples on the ${report.clock}'s clock`,
    `copy, measured now: ${amount(copy.bytesPerSecond)}B/s; peak, from the table of ${report.target}: ${peaks.join(", ") || "none"}`,
  ];
  const rows = [...report.kernels, ...(report.kernels.length === 1 ? [] : [total])].map((row) => [
    row.name,
    time(row.seconds),
    `${time(row.least)} .. ${time(row.most)}`,
    `${amount(row.bytes)}B`,
    row.seconds > 0 ? `${amount(row.bytes / row.seconds)}B/s` : "-",
    percent(row.ofCopy),
    `${amount(row.flops)}FLOP`,
    row.seconds > 0 ? `${amount(row.flops / row.seconds)}FLOP/s` : "-",
    row.ofPeak === null ? "-" : percent(row.ofPeak),
    percent(row.ofCeiling),
  ]);
  const head = ["kernel", "time", "range", "moved", "", "of copy", "work", "", "of peak", "of ceiling"];
  return [...lines, ...table(head, rows)].join("\n");
}

function inputsText({ mode, sets, bytes, cacheBytes }: BenchInputs): string {
  const cache = cacheBytes === null ? "a cache of unknown size" : `a cache of ${amount(cacheBytes)}B`;
  switch (mode) {
    case "cold":
      return `one set of tensors, ${amount(bytes)}B, ${cache} flushed before each run`;
    case "warm":
      return `one set of tensors, ${amount(bytes)}B, again and again, before ${cache}`;
    case "rotated": {
      const fits = cacheBytes !== null && sets * bytes <= cacheBytes ? ", which holds them all" : "";
      return `${sets} sets of tensors in turn, ${amount(sets * bytes)}B, before ${cache}${fits}`;
    }
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
