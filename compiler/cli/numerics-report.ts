/** What `weft numerics` prints. */
import type { NumericsReport } from "../numerics/index.ts";
import { table } from "./table.ts";

export function numericsText(report: NumericsReport): string {
  const sizes = Object.entries(report.dims).map(([name, value]) => `${name}=${value}`);
  const lines = [
    `${report.program} for ${report.target} on ${report.device}${sizes.length === 0 ? "" : ` with ${sizes.join(", ")}`}`,
  ];
  const confidence = `${Number((report.confidence * 100).toPrecision(4))}%`;
  const outputs = report.outputs.map((output) => {
    const { measured } = output;
    return [
      output.name,
      output.dtype,
      short(output.scale),
      relative(measured.relative),
      relative(output.probable.relative),
      relative(output.worst.relative),
      relative(output.unitRoundoff),
      short(measured.difference),
      headroom(output.headroom, output.saturates),
      verdict(output),
    ];
  });
  lines.push(
    ...table(
      [
        "output",
        "dtype",
        "largest",
        "measured",
        `within, ${confidence}`,
        "worst case",
        "rounding",
        "difference",
        "headroom",
        "",
      ],
      outputs,
    ),
    "Errors are relative to the largest value of the output; difference is 1 - 2 sum(x y) / sum(x x + y y).",
  );
  if (report.sums.length > 0) {
    const rows = report.sums.map(({ kernel, roundings, unit, run, magnitude, headroom: room, summary }) => [
      kernel,
      String(roundings),
      unit === undefined ? "f32" : `${unit.keptBits + 1} bits over ${run}: ${unit.instruction}`,
      short(magnitude),
      headroom(room, false),
      summary,
    ]);
    lines.push(...table(["sums", "additions in a row", "products", "sum of |term|", "headroom", ""], rows));
  }
  if (report.between.length > 0) {
    const rows = report.between.map((value) => [
      value.name,
      value.dtype,
      short(value.magnitude),
      headroom(value.headroom, value.saturates),
    ]);
    lines.push(...table(["between kernels", "dtype", "largest", "headroom"], rows));
  }
  const { runs, batches } = report.reproducible;
  lines.push(`bits in another run: ${runs.bitwise ? "the same" : "others"}; ${runs.reason}`);
  for (const { dim, bitwise, reason } of batches)
    lines.push(`bits for other ${dim}: ${bitwise ? "the same" : "others"}; ${reason}`);
  return lines.join("\n");
}

function verdict({ measured, elements }: NumericsReport["outputs"][number]): string {
  if (measured.beyondWorst > 0) return `${measured.beyondWorst} of ${elements} beyond the worst case`;
  if (measured.beyondProbable > 0)
    return `${measured.beyondProbable} of ${elements} beyond the probable bound`;
  return measured.ofWorst === 0 ? "exact" : `at most ${short(measured.ofWorst)} of an element's worst case`;
}

function headroom(value: number | undefined, saturates: boolean): string {
  if (value === undefined) return "-";
  if (value === Infinity) return "all is 0";
  return `${short(value)} x${saturates ? ", saturates" : ""}`;
}

function relative(value: number): string {
  return Number.isFinite(value) ? value.toExponential(2) : "no bound";
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
