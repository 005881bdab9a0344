/**
 * For which numbers of micro-batches a proof holds.
 *
 * The idea: let the ranks of a smaller schedule run until rank 0 begins some iteration of its steady phase, everyone
 * else no further than that needs; and again until it begins the next. If meanwhile every rank went through exactly one
 * iteration of its own steady phase, all queues are as they were, and that stretch can be repeated: k more iterations of
 * every steady phase run through, with the peaks unchanged. It remains that a schedule with more micro-batches is that:
 * `M` stands in the count of one phase alone, in which one more step of M is one more iteration on every rank, and no
 * body looks at `M`, or, in that phase, at its iteration but to tell the first from the others.
 */
import type { Expr, PipelineAction } from "../../grammar/ast.ts";
import { type Channels, channelsOf, queueOf } from "./channels.ts";
import type { Pipeline } from "./compile.ts";
import { allows, type Program } from "./evaluate.ts";
import { prove } from "./prove.ts";
import { isJoined, type Schedule } from "./schedule.ts";

export type Generality =
  /** Proved for `from`, `from + step`, .. micro-batches, with these ranks and queues of `queue` or more. */
  | { readonly kind: "induction"; readonly ranks: number; readonly from: number; readonly step: number }
  /** Proved for these sizes and smaller ones that were tried, and why not for all. */
  | { readonly kind: "sizes"; readonly ranks: number; readonly micro: number; readonly why: string };

/** Every smaller number of micro-batches is proved on the way, which is quadratic in the ranks. */
const mostRanks = 64;

export function generalize(pipeline: Pipeline): Generality {
  const { ranks, micro } = pipeline.schedule;
  const sized = (why: string): Generality => ({ kind: "sizes", ranks, micro, why });
  if (ranks > mostRanks) return sized(`the induction is tried for up to ${mostRanks} ranks`);
  const steady = steadyPhase(pipeline.program);
  if (typeof steady === "string") return sized(steady);
  const allowed: number[] = [];
  for (let m = 1; m <= 64 * ranks + 64 && allowed.length < 2 + 4 * ranks; m++)
    if (allows(pipeline.program, { ranks, micro: m })) allowed.push(m);
  const [first, second] = allowed;
  if (first === undefined || second === undefined)
    return sized("there are no two numbers of micro-batches to compare");
  const step = second - first;
  if (allowed.some((m, k) => m !== first + k * step))
    return sized("the numbers of micro-batches that it allows are not evenly spaced");
  for (const m of allowed) {
    const base = pipeline.at({ ranks, micro: m });
    const next = pipeline.at({ ranks, micro: m + step });
    if (base === undefined || next === undefined || prove(base).verdict === "refused")
      return sized("a smaller number fails");
    if (repeats(base, next, steady.name)) return { kind: "induction", ranks, from: first, step };
  }
  return sized("no stretch of the steady phase was found that repeats on every rank");
}

/** The one phase whose count has M in it, or why there is none. */
function steadyPhase(program: Program): { readonly name: string } | string {
  const micro = program.decl.params[1]?.text ?? "";
  const tainted = new Set([micro]);
  for (const item of program.decl.items) {
    if (item.kind === "let" && mentions(item.value, tainted)) tainted.add(item.name.text);
    if (item.kind === "rank" && mentions(item.count, tainted)) return "the number of ranks depends on M";
    if (item.kind === "direction" && item.stages.some((stage) => mentions(stage, tainted)))
      return "stages depend on M";
  }
  const growing: string[] = [];
  for (const item of program.decl.items) {
    if (item.kind !== "phase") continue;
    if (item.count !== undefined && mentions(item.count, tainted)) {
      if (!isAffine(item.count, tainted)) return `the count of phase '${item.name.text}' is no sum`;
      growing.push(item.name.text);
    }
    if (item.body.some((action) => actionMentions(action, tainted)))
      return `the body of phase '${item.name.text}' depends on M`;
  }
  const [only] = growing;
  if (only === undefined || growing.length > 1)
    return `${growing.length} phases grow with M, so that there is no one steady phase`;
  const found = program.decl.items.find((item) => item.kind === "phase" && item.name.text === only);
  const variable = found?.kind === "phase" ? found.variable?.text : undefined;
  if (
    found?.kind === "phase" &&
    variable !== undefined &&
    found.body.some((action) => !isFirstApart(action, variable))
  )
    return `the body of phase '${only}' computes with its iteration`;
  return { name: only };
}

function children(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "paren":
    case "unary":
      return [e.value];
    case "binary":
      return [e.left, e.right];
    case "if":
      return [e.condition, e.then, e.else];
    case "call":
      return e.args;
    default:
      return [];
  }
}

function mentions(e: Expr, names: ReadonlySet<string>): boolean {
  return e.kind === "name" ? names.has(e.name.text) : children(e).some((part) => mentions(part, names));
}

/** A sum in which M stands plain or divided by a constant: it grows evenly where `where` spaces M evenly. */
function isAffine(e: Expr, names: ReadonlySet<string>): boolean {
  if (!mentions(e, names)) return true;
  if (e.kind === "name") return true;
  if (e.kind === "paren") return isAffine(e.value, names);
  if (e.kind !== "binary") return false;
  if (e.op === "+" || e.op === "-") return isAffine(e.left, names) && isAffine(e.right, names);
  return e.op === "/" && e.left.kind === "name" && e.right.kind === "int";
}

function actionMentions(action: PipelineAction, names: ReadonlySet<string>): boolean {
  switch (action.kind) {
    case "action":
      return [action.direction, action.slot].some((e) => e !== undefined && mentions(e, names));
    case "overlap":
      return action.actions.some((inside) => actionMentions(inside, names));
    case "if":
      return (
        mentions(action.condition, names) ||
        [...action.then, ...action.else].some((inside) => actionMentions(inside, names))
      );
  }
}

/** Whether the iteration is only compared with 0, so that all but the first are alike. */
function isFirstApart(action: PipelineAction, variable: string): boolean {
  const own = new Set([variable]);
  const compares = (e: Expr): boolean => {
    if (!mentions(e, own)) return true;
    if (e.kind === "paren" || e.kind === "unary") return compares(e.value);
    if (e.kind !== "binary") return false;
    if (e.op === "and" || e.op === "or") return compares(e.left) && compares(e.right);
    return (
      ["==", "!=", ">"].includes(e.op) &&
      e.left.kind === "name" &&
      e.right.kind === "int" &&
      e.right.value === 0n
    );
  };
  switch (action.kind) {
    case "action":
      return ![action.direction, action.slot].some((e) => e !== undefined && mentions(e, own));
    case "overlap":
      return action.actions.every((inside) => isFirstApart(inside, variable));
    case "if":
      return (
        compares(action.condition) &&
        [...action.then, ...action.else].every((inside) => isFirstApart(inside, variable))
      );
  }
}

/**
 * Whether a stretch of one steady iteration a rank repeats in `base`, and `next` is `base` with the last iteration of
 * each rank's steady phase once more. The cut lies as late as it can, past what bodies compare their iteration with:
 * the iterations about it are alike.
 */
function repeats(base: Schedule, next: Schedule, phase: string): boolean {
  const ranges: { first: number; end: number; length: number }[] = [];
  for (let rank = 0; rank < base.ranks; rank++) {
    const [own, grown] = [phaseRange(base, rank, phase), phaseRange(next, rank, phase)];
    const length = grown.end - grown.first - (own.end - own.first);
    if (length <= 0 || own.end - own.first < 3 * length) return false;
    if (!isInsertion(base, next, rank, own.end, length)) return false;
    ranges.push({ ...own, length });
  }
  const channels = channelsOf(base);
  for (let lead = 0; lead < base.ranks; lead++) {
    const range = ranges[lead];
    if (range === undefined) return false;
    for (let from = range.end - 2 * range.length; from >= range.first + range.length; from -= range.length)
      if (isRepeatable(base, channels, ranges, lead, from)) return true;
  }
  return false;
}

function phaseRange(s: Schedule, rank: number, phase: string): { first: number; end: number } {
  let [first, end] = [-1, -1];
  for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
    if (s.sites[s.site[e] ?? 0]?.phase !== phase) continue;
    if (first < 0) first = e;
    end = e + 1;
  }
  return { first, end };
}

/** Whether the rank's actions in `next` are those in `base`, with the `length` before `at` once more. */
function isInsertion(base: Schedule, next: Schedule, rank: number, at: number, length: number): boolean {
  const shift = (next.start[rank] ?? 0) - (base.start[rank] ?? 0);
  const same = (a: number, b: number): boolean =>
    base.kind[a] === next.kind[b] && base.lane[a] === next.lane[b];
  for (let e = base.start[rank] ?? 0; e < (base.start[rank + 1] ?? 0); e++)
    if (!same(e, e + shift + (e < at ? 0 : length))) return false;
  for (let e = at; e < at + length; e++) if (!same(e - length, e + shift)) return false;
  return (next.start[rank + 1] ?? 0) - shift === (base.start[rank + 1] ?? 0) + length;
}

type Ranges = readonly { readonly first: number; readonly end: number; readonly length: number }[];

/** Whether every rank goes through one iteration of its own while `lead` does, between two least cuts. */
function isRepeatable(s: Schedule, channels: Channels, ranges: Ranges, lead: number, from: number): boolean {
  const cut = s.start.slice(0, s.ranks);
  advance(s, channels, cut, lead, from);
  const before = cut.slice();
  const length = ranges[lead]?.length ?? 0;
  advance(s, channels, cut, lead, from + length);
  return ranges.every((range, rank) => {
    const [a, b] = [before[rank] ?? 0, cut[rank] ?? 0];
    if (a < range.first + range.length || b > range.end || b - a !== range.length) return false;
    // Iterations on both sides of the cut are one another's repetition, from the one before on.
    for (let e = a; e < range.end; e++)
      if (s.kind[e] !== s.kind[e - range.length] || s.lane[e] !== s.lane[e - range.length]) return false;
    return true;
  });
}

/** Takes `lead` to the entry `goal`, and every other rank as far as that needs: the least cut, with queues of any size. */
function advance(s: Schedule, channels: Channels, cut: Int32Array, lead: number, goal: number): void {
  const index = indices(s, channels);
  const wanted: { rank: number; to: number }[] = [{ rank: lead, to: goal }];
  for (let top = wanted.at(-1); top !== undefined; top = wanted.at(-1)) {
    const at = cut[top.rank] ?? 0;
    if (at >= top.to) {
      wanted.pop();
      continue;
    }
    const last = isJoined(s, at) ? at + 1 : at;
    let isBlocked = false;
    for (let e = at; e <= last && !isBlocked; e++) {
      const q = queueOf(s, channels.inbound, top.rank, e);
      if (q < 0) continue;
      const by = channels.sends[(channels.sendAt[q] ?? 0) + (index[e] ?? 0)] ?? 0;
      const sender = channels.from[q] ?? 0;
      if ((cut[sender] ?? 0) > by) continue;
      wanted.push({ rank: sender, to: by + 1 });
      isBlocked = true;
    }
    if (!isBlocked) cut[top.rank] = last + 1;
  }
}

/** By receiving entry: which message of its queue it takes. */
function indices(s: Schedule, channels: Channels): Int32Array {
  const index = new Int32Array(s.start[s.ranks] ?? 0);
  for (let q = 0; q < channels.count; q++)
    for (let k = channels.receiveAt[q] ?? 0; k < (channels.receiveAt[q + 1] ?? 0); k++)
      index[channels.receives[k] ?? 0] = k - (channels.receiveAt[q] ?? 0);
  return index;
}

/** In words: for which sizes the proof holds. */
export function describeGenerality(g: Generality, name: string): string {
  return g.kind === "induction"
    ? `proved for ${name} with ${g.ranks} ranks and ${g.from}, ${g.from + g.step}, ${g.from + 2 * g.step}, .. micro-batches, by induction on the steady phase`
    : `proved for ${name} with ${g.ranks} ranks and ${g.micro} micro-batches, and not for all: ${g.why}`;
}
