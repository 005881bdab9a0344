/**
 * A schedule as an SVG Gantt chart, as the papers draw them: a row a rank, time to the right, forward, backward, input
 * and weight gradients by colour, an overlapped pair with its two halves above one another in one frame, micro-batch
 * numbers, the second direction (or the second stage of a rank) in a darker tone with light numbers, and, where there
 * is communication, a thin row of it under each rank.
 *
 * Colours are set by classes, so that the reader's light or dark scheme applies; paper is light.
 */
import { isCommunication } from "./pieces.ts";
import { B, F, I, isJoined, kindAt, type Schedule } from "./schedule.ts";
import type { Simulation } from "./simulate.ts";

export interface GanttOptions {
  readonly title: string;
  /** Pixels of one unit of time; chosen to give 1,600 where it is not given. */
  readonly scale?: number;
}

const rowHeight = 26;
const barHeight = 22;
const communicationHeight = 8;
const left = 70;
const right = 16;
const top = 34;

/** A drawing of its own. */
export function ganttSvg(
  charts: readonly { readonly simulation: Simulation; readonly options: GanttOptions }[],
): string {
  const longest = Math.max(1e-9, ...charts.map(({ simulation }) => simulation.makespan));
  const scale =
    charts[0]?.options.scale ?? Math.max(1500, Math.min(6000, shortest(charts) * longest)) / longest;
  const width = Math.ceil(left + longest * scale + right);
  const parts: string[] = [];
  let y = 0;
  const present = new Set<string>();
  for (const { simulation, options } of charts) {
    const drawn = chart(simulation, options, { y, scale, present });
    parts.push(drawn.svg);
    y += drawn.height;
  }
  const key = legend(present, y + 6, width);
  const height = y + key.height;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(charts.map(({ options }) => options.title).join("; "))}</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    ...parts,
    key.svg,
    "</svg>",
    "",
  ].join("\n");
}

/** So wide that the shortest action has room for its number. */
function shortest(charts: readonly { readonly simulation: Simulation }[]): number {
  const costs = charts.map(({ simulation: { start, end } }) => {
    let least = Infinity;
    for (let e = 0; e < start.length; e++) {
      const time = (end[e] ?? 0) - (start[e] ?? 0);
      if (time > 0 && time < least) least = time;
    }
    return least;
  });
  const digits = Math.max(...charts.map(({ simulation: { schedule } }) => String(schedule.micro - 1).length));
  return (5 + 6 * digits) / Math.min(...costs);
}

const style = [
  "text{font:11px system-ui,sans-serif}",
  ".paper{fill:#fff}.label,.title{fill:#222}.title{font-weight:600;font-size:13px}.axis{fill:#666;font-size:10px}",
  ".grid{stroke:#ddd}.row{fill:#f3f3f3}",
  "rect.a{stroke:#fff;stroke-width:.7}.pair{fill:none;stroke:#111;stroke-width:1.3}",
  ".n{text-anchor:middle;fill:#111;font-size:10px}.n.s{font-size:8.5px}.n.k{fill:#fff}",
  ".F0{fill:#f7b267}.F1{fill:#b85c00}.B0{fill:#7fc8a9}.B1{fill:#1b7a55}",
  ".I0{fill:#8ec5e8}.I1{fill:#20639b}.W0{fill:#c9c4dc}.W1{fill:#6b5b95}.C0{fill:#e58f9b}.C1{fill:#9d3a52}",
  "@media(prefers-color-scheme:dark){.paper{fill:#16181d}.label,.title{fill:#eee}.axis{fill:#aaa}.grid{stroke:#333}.row{fill:#22252c}rect.a{stroke:#16181d}.pair{stroke:#fff}}",
  "@media print{.paper{fill:#fff}.label,.title{fill:#222}.axis{fill:#555}.grid{stroke:#ddd}.row{fill:#f3f3f3}rect.a{stroke:#fff}.pair{stroke:#111}}",
].join("\n");

interface Frame {
  readonly y: number;
  readonly scale: number;
  /** Classes that the legend has to tell. */
  readonly present: Set<string>;
}

function chart(
  simulation: Simulation,
  options: GanttOptions,
  frame: Frame,
): { readonly svg: string; readonly height: number } {
  const { schedule: s, makespan } = simulation;
  const { y, scale } = frame;
  const communication = Array.from({ length: s.ranks }, (_, rank) => communicationOf(simulation, rank));
  const hasCommunication = communication.some((list) => list.length > 0);
  const pitch = rowHeight + (hasCommunication ? communicationHeight + 3 : 0);
  const bottom = y + top + s.ranks * pitch;
  const out = [`<text class="title" x="8" y="${y + 20}">${escape(options.title)}</text>`];
  for (let rank = 0; rank < s.ranks; rank++) {
    const rowY = y + top + rank * pitch;
    out.push(
      `<text class="label" x="8" y="${rowY + 15}">rank ${rank}</text>`,
      `<rect class="row" x="${left}" y="${rowY}" width="${round(makespan * scale)}" height="${barHeight}"/>`,
    );
    bars(simulation, rank, rowY, frame, out);
    for (const { start, end, second } of communication[rank] ?? []) {
      const name = `C${second ? 1 : 0}`;
      frame.present.add(name);
      out.push(
        `<rect class="a ${name}" x="${round(left + start * scale)}" y="${rowY + barHeight + 2}" width="${round((end - start) * scale)}" height="${communicationHeight}"/>`,
      );
    }
  }
  axis(makespan, scale, y + top, bottom, out);
  return { svg: out.join("\n"), height: bottom - y + 26 };
}

function bars(
  simulation: Simulation,
  rank: number,
  y: number,
  { scale, present }: Frame,
  out: string[],
): void {
  const { schedule: s, start, end } = simulation;
  const limit = s.start[rank + 1] ?? 0;
  for (let e = s.start[rank] ?? 0; e < limit; e++) {
    const [x, width] = [left + (start[e] ?? 0) * scale, ((end[e] ?? 0) - (start[e] ?? 0)) * scale];
    const pair = isJoined(s, e) ? [e, e + 1] : [e];
    const height = barHeight / pair.length;
    for (const [k, entry] of pair.entries()) {
      const name = classOf(s, entry);
      present.add(name);
      out.push(
        `<rect class="a ${name}" x="${round(x)}" y="${round(y + k * height)}" width="${round(width)}" height="${round(height)}"/>`,
      );
      const label = String(numberOf(s, entry));
      if (width >= 6 * label.length + 1)
        out.push(
          `<text class="n${pair.length > 1 ? " s" : ""}${name.endsWith("1") ? " k" : ""}" x="${round(x + width / 2)}" y="${round(y + (k + 0.5) * height + (pair.length > 1 ? 3 : 3.6))}">${label}</text>`,
        );
    }
    if (pair.length > 1) {
      present.add("pair");
      out.push(
        `<rect class="pair" x="${round(x + 0.7)}" y="${round(y + 0.7)}" width="${round(Math.max(0.5, width - 1.4))}" height="${barHeight - 1.4}"/>`,
      );
      e += 1;
    }
  }
}

/** Dispatches and combines where the simulation had pieces, and transfers to other ranks. */
function communicationOf(
  simulation: Simulation,
  rank: number,
): readonly { start: number; end: number; second: boolean }[] {
  const inside = simulation
    .pieces(rank)
    .filter(({ name }) => isCommunication(name))
    .map(({ start, end, name }) => ({ start, end, second: name.endsWith("(B)") }));
  const sent = simulation
    .transfers(rank)
    .map(({ start, end, entry }) => ({ start, end, second: kindAt(simulation.schedule, entry) !== F }));
  return [...inside, ...sent];
}

/** The kind, and 1 for the second direction or, of one direction, the rank's second stage. */
function classOf(s: Schedule, entry: number): string {
  const kind = kindAt(s, entry);
  return `${kind === F ? "F" : kind === B ? "B" : kind === I ? "I" : "W"}${Math.min(1, s.lane[entry] ?? 0)}`;
}

/** Micro-batches count through the directions, as the papers number them: those of the second follow the first's. */
function numberOf(s: Schedule, entry: number): number {
  const isSecond = (s.directionOf[s.lane[entry] ?? 0] ?? 0) > 0;
  return (s.batch[entry] ?? 0) + (isSecond ? Math.ceil(s.micro / s.directions.length) : 0);
}

function axis(makespan: number, scale: number, above: number, below: number, out: string[]): void {
  const rough = makespan / 16;
  const unit = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)));
  const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= rough) ?? rough;
  for (let k = 0; k * step <= makespan * (1 + 1e-9); k++) {
    const x = round(left + k * step * scale);
    out.push(
      `<line class="grid" x1="${x}" y1="${above - 4}" x2="${x}" y2="${above - 1}"/><line class="grid" x1="${x}" y1="${below}" x2="${x}" y2="${below + 4}"/>`,
      `<text class="axis" x="${x}" y="${below + 15}" text-anchor="middle">${round(k * step)}</text>`,
    );
  }
}

const names: Readonly<Record<string, string>> = {
  F: "forward",
  B: "backward",
  I: "input gradient",
  W: "weight gradient",
};

function legend(
  present: ReadonlySet<string>,
  y: number,
  width: number,
): { readonly svg: string; readonly height: number } {
  const hasSecond = ["F1", "B1", "I1", "W1"].some((name) => present.has(name));
  const entries: { readonly box: string; readonly text: string }[] = [];
  for (const [kind, text] of Object.entries(names))
    for (const tone of ["0", "1"])
      if (present.has(kind + tone))
        entries.push({
          box: `a ${kind}${tone}`,
          text: hasSecond ? `${text}, ${tone === "0" ? "first" : "second"} direction or stage` : text,
        });
  if (present.has("pair")) entries.push({ box: "pair", text: "overlapped pair" });
  if (present.has("C0")) entries.push({ box: "a C0", text: "communication of forward" });
  if (present.has("C1")) entries.push({ box: "a C1", text: "communication of backward" });
  let [x, row] = [left, 0];
  const out = entries.map(({ box, text }) => {
    const wide = 24 + text.length * 6.2 + 14;
    if (x + wide > width) [x, row] = [left, row + 1];
    const at = y + row * 20;
    const svg = `<rect class="${box}" x="${round(x)}" y="${at}" width="16" height="12"/><text class="label" x="${round(x + 21)}" y="${at + 10}">${text}</text>`;
    x += wide;
    return svg;
  });
  return { svg: out.join("\n"), height: 30 + row * 20 };
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
