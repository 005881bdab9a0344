/**
 * The numerics report as an SVG: of each output how many elements err by how much, on a scale of powers of two relative
 * to the output's largest value, with the bounds and the dtype's own rounding as lines; below it what adds its terms and
 * how far values are from overflow.
 *
 * Colours are set by classes, so that the reader's light or dark scheme applies.
 */
import type { NumericsReport, OutputReport } from "./report.ts";

const width = 900;
const left = 60;
const right = 30;
const plotHeight = 150;
const panelHeight = plotHeight + 92;
const lineHeight = 18;
/** The scale's ends, as powers of two. */
const [lowest, highest] = [-34, 4];

const style = [
  ".paper { fill: #fff } .frame { stroke: #999; fill: none } .grid { stroke: #e4e4e4 }",
  "text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600; font-size: 14px } .small { font-size: 11px; fill: #666 }",
  ".bar { fill: #4c78a8 } .worst { stroke: #c0392b; fill: #c0392b } .probable { stroke: #e08e0b; fill: #e08e0b } .unit { stroke: #777; fill: #777; stroke-dasharray: 4 3 }",
  ".worst-text { fill: #c0392b } .probable-text { fill: #b26f00 } .measured-text { fill: #2f5d8a } .track { fill: #eee } .room { fill: #59a14f } .tight { fill: #c0392b }",
  "@media (prefers-color-scheme: dark) { .paper { fill: #16181c } text { fill: #ddd } .grid { stroke: #2c2f36 } .small { fill: #999 } .track { fill: #2c2f36 }",
  ".worst-text { fill: #ff8a7a } .probable-text { fill: #f0b45a } .measured-text { fill: #8db7e2 } }",
].join("\n");

/** A drawing of its own. */
export function numericsSvg(report: NumericsReport): string {
  const sizes = Object.entries(report.dims)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
  const panels = report.outputs.map((output, k) => panel(report, output, 56 + k * panelHeight));
  let y = 56 + report.outputs.length * panelHeight;
  const notes = notesOf(report).map((text) => {
    y += lineHeight;
    return `<text class="small" x="${left}" y="${y}">${escape(text)}</text>`;
  });
  const height = y + 20;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(report.program)}: error bounds</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    `<text class="title" x="${left}" y="24">${escape(report.program)}</text>`,
    `<text class="small" x="${left}" y="42">${escape(`${report.device}, ${report.target}${sizes === "" ? "" : `, ${sizes}`}`)}</text>`,
    ...panels,
    ...notes,
    "</svg>",
    "",
  ].join("\n");
}

function xOf(exponent: number): number {
  const part = (Math.min(highest, Math.max(lowest, exponent)) - lowest) / (highest - lowest);
  return left + part * (width - left - right);
}

function panel(report: NumericsReport, output: OutputReport, top: number): string {
  const base = top + 22 + plotHeight;
  const most = Math.max(1, ...output.errors.map(({ elements }) => elements));
  const parts: string[] = [
    `<text class="title" x="${left}" y="${top + 12}">${escape(`${output.name}: ${output.dtype}, ${output.elements} elements`)}</text>`,
    `<text class="small" x="${width - right}" y="${top + 12}" text-anchor="end">${output.exact} without error</text>`,
  ];
  for (let exponent = Math.ceil(lowest / 4) * 4; exponent <= highest; exponent += 4) {
    const x = round(xOf(exponent));
    parts.push(
      `<line class="grid" x1="${x}" y1="${top + 22}" x2="${x}" y2="${base}"/>`,
      `<text class="small" x="${x}" y="${base + 14}" text-anchor="middle">2^${exponent}</text>`,
    );
  }
  for (const { exponent, elements } of output.errors) {
    const height = Math.max(1, (elements / most) * (plotHeight - 24));
    const [from, to] = [xOf(exponent), xOf(exponent + 1)];
    if (to <= from) continue;
    parts.push(
      `<rect class="bar" x="${round(from)}" y="${round(base - height)}" width="${round(to - from - 1)}" height="${round(height)}"/>`,
    );
  }
  const line = (kind: string, relative: number, row: number): void => {
    if (relative <= 0 || !Number.isFinite(relative)) return;
    const x = round(xOf(Math.log2(relative)));
    parts.push(
      `<line class="${kind}" x1="${x}" y1="${top + 22 + row * 6}" x2="${x}" y2="${base}" stroke-width="2"/>`,
    );
  };
  line("unit", output.unitRoundoff, 0);
  line("probable", output.probable.relative, 1);
  line("worst", output.worst.relative, 0);
  parts.push(`<line class="frame" x1="${left}" y1="${base}" x2="${width - right}" y2="${base}"/>`);
  const { measured, probable, worst } = output;
  const confidence = `${round(report.confidence * 100)}%`;
  parts.push(
    text("measured-text", left, base + 34, `measured ${power(measured.relative)}`),
    text("probable-text", left + 170, base + 34, `probable (${confidence}) ${power(probable.relative)}`),
    text("worst-text", left + 390, base + 34, `worst case ${power(worst.relative)}`),
    text(
      "small",
      left + 560,
      base + 34,
      output.unitRoundoff === 0 ? "" : `rounding to ${output.dtype} ${power(output.unitRoundoff)}`,
    ),
    headroomBar(output, base + 44),
  );
  return parts.join("\n");
}

/** Powers of two between the largest value that may be reached and the largest there is. */
function headroomBar({ dtype, headroom, saturates }: OutputReport, y: number): string {
  if (headroom === undefined) return "";
  const bits = Math.log2(headroom);
  const whole = { f16: 31, e4m3: 9, e5m2: 16 }[dtype as string] ?? 128;
  const part = Math.min(1, Math.max(0, bits / whole));
  const end = saturates ? "it saturates" : "overflow";
  const shown = bits === Infinity ? "all is 0" : `2^${round(bits)} to ${end}`;
  return [
    `<rect class="track" x="${left}" y="${y}" width="150" height="8"/>`,
    `<rect class="${part < 0.05 ? "tight" : "room"}" x="${left}" y="${y}" width="${round(150 * part)}" height="8"/>`,
    text("small", left + 160, y + 8, `headroom: ${shown}`),
  ].join("\n");
}

function notesOf(report: NumericsReport): readonly string[] {
  const sums = report.sums.map(({ kernel, roundings, unit, run }) => {
    const f32 = `${roundings} f32 additions in a row at most`;
    return unit === undefined
      ? `${kernel}: ${f32}`
      : `${kernel}: ${unit.instruction} keeps ${unit.keptBits + 1} bits, over ${run} products; ${f32}`;
  });
  const batches = report.reproducible.batches.map(
    ({ dim, bitwise, reason }) => `bits for other ${dim}: ${bitwise ? "the same" : "others"}; ${reason}`,
  );
  return [...sums, `bits in another run: the same; ${report.reproducible.runs.reason}`, ...batches];
}

function text(kind: string, x: number, y: number, said: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${escape(said)}</text>`;
}

function power(relative: number): string {
  return relative === 0 ? "0" : Number.isFinite(relative) ? `2^${round(Math.log2(relative))}` : "no bound";
}

function round(x: number): number {
  return Math.round(x * 100) / 100;
}

function escape(said: string): string {
  return said.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
