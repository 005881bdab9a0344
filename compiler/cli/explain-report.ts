/** What `weft explain` says of a program: how neighbours became one kernel, or why they are apart. */
import { positions } from "../diagnostics/position.ts";
import type { ExplainedPair, ExplainedValue, FusionReport, Outcome, Traffic } from "../passes/explain.ts";
import type { ExplainedContraction } from "../passes/scale-factors.ts";
import type { DerivedCall, FormCost } from "../lower/frame.ts";
import type { Apart } from "../passes/fusing.ts";
import { printDim, sizeExpression } from "../types/dim-text.ts";
import { symbols, type Dim } from "../types/dim.ts";
import { estimate, unknownSize } from "../passes/cost.ts";
import type { Compiled } from "./api.ts";
import { amount } from "./plan-summary.ts";
import { table } from "./table.ts";

/** Where a value comes from, in the words of its program. */
interface Origin {
  readonly name: string;
  /** `softmax.dsl:7:3`; undefined for what the compiler made itself. */
  readonly at: string | undefined;
}

type Locate = (value: ExplainedValue) => Origin;

/** Characters of the source that stand for a value without a name. */
const longestName = 32;

function locator(sources: ReadonlyMap<string, string>): Locate {
  const places = positions(sources);
  return ({ name, place, kind }) => {
    if (place === undefined) return { name: name ?? `a ${kind}`, at: undefined };
    const { line, column } = places.of(place.file, place.start);
    const text = (sources.get(place.file) ?? "").slice(place.start, place.end).replace(/\s+/g, " ");
    const short = text.length > longestName ? `${text.slice(0, longestName - 2)}..` : text;
    return { name: name ?? short, at: `${place.file}:${line}:${column}` };
  };
}

const outcomes: Readonly<Record<Exclude<Outcome, "apart">, string>> = {
  prologue: "computed where it is read",
  epilogue: "done where the result is made",
  row: "one loop over the rows",
  sibling: "one loop reads for both",
  stream: "streamed in one loop",
};

function reasonText(reason: Apart | undefined): string {
  switch (reason?.kind) {
    case undefined:
      return "one of them is no plain loop";
    case "contraction":
      return "a contraction keeps a loop of its own";
    case "masked":
      return "the sum leaves masked products out, as no product of matrices does; std.mask.zeroed makes a masked factor 0";
    case "axes":
      return "their axes do not match";
    case "points":
      return "one needs others of its values than the one it is at";
    case "sizes":
      return "their axes differ in size";
    case "little-shared":
      return `they share ${bytesOf(reason.shared)} of ${bytesOf(reason.bytes)}`;
    case "few-rows":
      return `${reason.rows} rows of ${reason.length} are too few for a block each, ${reason.least} are enough`;
    case "too-large":
      return `one loop would have ${reason.scalars} operations, at most ${reason.most} fit`;
    case "too-many-tensors":
      return `one loop would have ${reason.tensors} tensors, at most ${reason.most} fit`;
    case "between":
      return "what is between them needs all of it";
    case "empty":
      return "it reduces nothing";
    case "costly-again":
      return `it would be computed again: ${reason.flops} FLOP a value, at most ${reason.most} are`;
    case "reads-more":
      return `its readers would read ${bytesOf(reason.bytes)} more`;
    case "narrows":
      return "the contraction would read a wider tensor again for each of its tiles";
    case "needs-memory":
      return "it is read in memory: as a result, out of bounds or written over";
  }
}

function bytesOf(count: number): string {
  return `${amount(count)}B`;
}

/** As a number where it is known, else as a formula. */
function sizeText(size: Dim): string {
  return size.kind === "const" ? bytesOf(size.value) : `${printDim(size)} B`;
}

/** What a compilation tells of itself. */
export interface Explained extends Pick<Compiled, "contractions" | "derived" | "sources"> {
  readonly fusion: FusionReport;
}

export function explanationText(
  program: string,
  { fusion: report, contractions, derived, sources }: Explained,
): string {
  const locate = locator(sources);
  const { before, after } = report;
  const moved = (traffic: Traffic): string => bytesOf(estimate(traffic.bytes));
  const lines = [
    `${program}: ${loops(before)} as written, ${loops(after)} as compiled`,
    `bytes moved: ${moved(before)} as written, ${moved(after)} as compiled`,
  ];
  const row = ({ maker, reader, outcome, reason, bytes }: ExplainedPair): readonly string[] => {
    const [from, to] = [locate(maker), locate(reader)];
    const says = outcome === "apart" ? `apart: ${reasonText(reason)}` : `fused: ${outcomes[outcome]}`;
    const saves = outcome === "apart" ? `(${sizeText(bytes)})` : sizeText(bytes);
    return [from.name, from.at ?? "", to.name, to.at ?? "", saves, says];
  };
  const rows = [...report.pairs, ...report.siblings].map(row);
  if (rows.length > 0) lines.push(...table(["from", "", "to", "", "saves", ""], rows));
  const contraction = (one: ExplainedContraction): readonly string[] => {
    const { name, at } = locate({ ...one, kind: "loop" });
    return [name, at ?? "", contractionText(one)];
  };
  if (contractions.length > 0) lines.push(...table(["contraction", "", ""], contractions.map(contraction)));
  for (const { value, kernels } of report.split)
    lines.push(`${locate(value).name} is split in parts: ${kernels} kernels`);
  for (const call of derived) lines.push(...derivedLines(call, sources));
  if (report.pairs.some(({ outcome }) => outcome === "apart"))
    lines.push("In parentheses: what one loop would save.");
  if (symbols(before.bytes).size > 0)
    lines.push(`A size that is not given counts as ${unknownSize}; --dims gives it.`);
  return lines.join("\n");
}

function contractionText({ factors, why, error }: ExplainedContraction): string {
  if (why !== undefined) return `kept: ${why}`;
  return `scaled: ${factors}${error === undefined ? "" : `, off by ${error.toPrecision(2)} of its terms at most`}`;
}

/** What the two forms of a derived function cost at a call of it, as formulas of the sizes that are open. */
function derivedLines(call: DerivedCall, sources: ReadonlyMap<string, string>): readonly string[] {
  const { name, from, cost, taken, place } = call;
  const { line, column } = positions(sources).of(place.file, place.start);
  const row = (form: string, { flops, bytes }: FormCost): readonly string[] => [
    form,
    flops.kind === "const" ? `${amount(flops.value)}FLOP` : `${printDim(flops)} FLOP`,
    sizeText(bytes),
  ];
  return [
    `${name} from ${from}, ${place.file}:${line}:${column}: ${taken === "from" ? from : name} is taken`,
    ...table(["form", "work", "moved"], [row(from, cost.from), row(name, cost.derived)]),
  ];
}

function costJson({ flops, bytes }: FormCost): unknown {
  return { flops: sizeExpression(flops), bytes: sizeExpression(bytes) };
}

function loops({ kernels }: Traffic): string {
  return `${kernels} ${kernels === 1 ? "loop" : "loops"}`;
}

/** The same for programs: sizes are formulas in the plan's syntax. */
export function explanationJson(
  program: string,
  { fusion: report, contractions, derived, sources }: Explained,
): unknown {
  const locate = locator(sources);
  const pair = ({ maker, reader, outcome, reason, bytes }: ExplainedPair): unknown => ({
    from: locate(maker),
    to: locate(reader),
    outcome,
    reason,
    bytes: sizeExpression(bytes),
  });
  const traffic = ({ kernels, bytes }: Traffic): unknown => ({
    loops: kernels,
    bytes: sizeExpression(bytes),
  });
  return {
    program,
    before: traffic(report.before),
    after: traffic(report.after),
    pairs: report.pairs.map(pair),
    siblings: report.siblings.map(pair),
    contractions: contractions.map((one) => ({
      ...locate({ ...one, kind: "loop" }),
      outcome: one.why === undefined ? "scaled" : "kept",
      factors: one.factors,
      why: one.why,
      error: one.error,
    })),
    derived: derived.map(({ name, from, cost, taken }) => ({
      name,
      from,
      taken: taken === "from" ? from : name,
      cost: { [from]: costJson(cost.from), [name]: costJson(cost.derived) },
    })),
    split: report.split.map(({ value, kernels }) => ({ ...locate(value), kernels })),
  };
}
