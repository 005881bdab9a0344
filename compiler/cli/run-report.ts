/** What `weft run` says of its results: what they are, and how far they are from the reference. */
import type { KernelTiming } from "../../runtime/device.ts";
import type { Comparison, Violations } from "../../runtime/tensor/comparison.ts";
import { compareTensors, findViolations } from "../../runtime/tensor/comparison.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import { typeText } from "../../runtime/tensor/tensor.ts";
import { toNumbers } from "../../runtime/tensor/values.ts";
import { time } from "./plan-summary.ts";
import { table } from "./table.ts";

export interface RunReport {
  readonly program: string;
  readonly device: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly outputs: readonly OutputSummary[];
  readonly timings: readonly KernelTiming[];
  readonly comparison: readonly ComparedOutput[] | undefined;
}

export interface OutputSummary {
  readonly name: string;
  readonly type: string;
  readonly least: number;
  readonly most: number;
  readonly mean: number;
}

export interface ComparedOutput extends Comparison, Pick<Violations, "unbounded" | "ratio"> {
  readonly name: string;
  /** Elements beyond their bound. */
  readonly violations: number;
}

export function summaryOf(name: string, tensor: HostTensor): OutputSummary {
  const values = toNumbers(tensor);
  let [least, most, sum] = [Infinity, -Infinity, 0];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
    sum += value;
  }
  return { name, type: typeText(tensor), least, most, mean: sum / values.length };
}

export function compareOutput(
  name: string,
  actual: HostTensor,
  expected: HostTensor,
  bounds: Float64Array | undefined,
): ComparedOutput {
  const { count, unbounded, ratio } = findViolations(actual, expected, bounds);
  return { name, ...compareTensors(actual, expected), violations: count, unbounded, ratio };
}

export function reportText(report: RunReport): string {
  const sizes = Object.entries(report.dims).map(([name, value]) => `${name}=${value}`);
  const lines = [
    `${report.program} on ${report.device}${sizes.length === 0 ? "" : ` with ${sizes.join(", ")}`}`,
  ];
  const outputs = report.outputs.map(({ name, type, least, most, mean }) => [
    name,
    type,
    short(least),
    short(most),
    short(mean),
  ]);
  lines.push(...table(["result", "type", "least", "most", "mean"], outputs));
  if (report.timings.length > 0) {
    const rows = report.timings.map(({ kernel, seconds }) => [kernel, time(seconds)]);
    const total = report.timings.reduce((sum, { seconds }) => sum + seconds, 0);
    lines.push(...table(["kernel", "time"], [...rows, ["all", time(total)]]));
  }
  if (report.comparison !== undefined) {
    const rows = report.comparison.map((row) => [
      row.name,
      short(row.maxAbsolute),
      short(row.maxRelative),
      short(row.calcDiff),
      short(row.ratio),
      verdict(row),
    ]);
    lines.push(...table(["against reference", "max abs", "max rel", "calc diff", "of bound", ""], rows));
  }
  return lines.join("\n");
}

function verdict(row: ComparedOutput): string {
  const open = row.unbounded === 0 ? "" : `; ${row.unbounded} of ${row.elements} have no bound`;
  if (row.violations > 0)
    return `DIFFERS: ${row.violations} of ${row.elements} beyond their bound, worst at ${row.worst}${open}`;
  return `within its bound${open}`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)));
}
