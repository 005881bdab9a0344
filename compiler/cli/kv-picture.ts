/**
 * What caches keep of a token, as an SVG: a bar for each configuration, its length the bytes on one scale from 0, with
 * the number beside it and how it comes to be below its name.
 *
 * Colours are set by classes, so that the reader's light or dark scheme applies.
 */
import { against, amount, type CacheReport } from "./kv-report.ts";

const width = 900;
const left = 30;
/** Room at a bar's end for its number. */
const right = 190;
const rowHeight = 54;
const barHeight = 16;

const style = [
  ".paper { fill: #fff } .axis { stroke: #999 } .grid { stroke: #e4e4e4 }",
  "text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-weight: 600; font-size: 14px } .small { font-size: 11px; fill: #666 }",
  ".bar0 { fill: #4c78a8 } .bar1 { fill: #59a14f } .bar2 { fill: #e08e0b } .bar3 { fill: #b279a2 } .bar4 { fill: #9d755d } .bar5 { fill: #72b7b2 }",
  "@media (prefers-color-scheme: dark) { .paper { fill: #16181c } text { fill: #ddd } .small { fill: #999 } .grid { stroke: #2c2f36 } }",
].join("\n");
const colours = 6;

/** A drawing of its own. Modules have colours in the order of the file. */
export function cacheSvg(file: string, { formulas, rows }: CacheReport): string {
  const top = 62;
  const base = top + rows.length * rowHeight;
  const height = base + 34;
  const most = Math.max(1, ...rows.map(({ bytes }) => bytes));
  const xOf = (bytes: number): number => left + (bytes / most) * (width - left - right);
  const step = stepOf(most);
  const grid: string[] = [];
  for (let at = 0; at <= most; at += step) {
    const x = round(xOf(at));
    grid.push(
      `<line class="${at === 0 ? "axis" : "grid"}" x1="${x}" y1="${top - 8}" x2="${x}" y2="${base}"/>`,
      text("small", x, base + 16, amount(at), "middle"),
    );
  }
  const first = rows[0];
  const bars = rows.flatMap((row, k) => {
    const y = top + k * rowHeight;
    const colour = formulas.findIndex(({ module }) => module === row.module) % colours;
    const end = round(xOf(row.bytes));
    const part = first === undefined || row === first ? "" : ` (${against(row.bytes / first.bytes)})`;
    return [
      text("", left + 4, y + 8, `${row.name}: ${row.module}`),
      text("small", width - 20, y + 8, row.arithmetic, "end"),
      `<rect class="bar${colour}" x="${left}" y="${y + 14}" width="${round(Math.max(1, end - left))}" height="${barHeight}"/>`,
      text("", end + 6, y + 27, `${amount(row.bytes)}${part}`),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(file)}: bytes that a cache keeps of a token</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    text("title", left, 24, "Bytes that a cache keeps of a token, over all layers"),
    text("small", left, 42, first === undefined ? file : `${file}; in parentheses against ${first.name}`),
    ...grid,
    ...bars,
    "</svg>",
    "",
  ].join("\n");
}

/** A round number of which about five make the whole. */
function stepOf(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 5));
  const step = [1, 2, 5, 10].find((times) => times * power * 5 >= most) ?? 10;
  return Math.max(1, step * power);
}

function text(kind: string, x: number, y: number, said: string, anchor = "start"): string {
  const label = kind === "" ? "" : ` class="${kind}"`;
  const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text${label} x="${x}" y="${y}"${at}>${escape(said)}</text>`;
}

function round(x: number): number {
  return Math.round(x * 100) / 100;
}

function escape(said: string): string {
  return said.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
