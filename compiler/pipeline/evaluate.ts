/** A pipeline block for given numbers of ranks and micro-batches: every rank's actions, and its `W`s resolved. */
import type { PipelineAction, PipelineDecl, Span } from "../../grammar/ast.ts";
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import { pipelineItem } from "../diagnostics/directives.ts";
import { pipelineOverlap, pipelineSizes, pipelineStages } from "../diagnostics/pipeline.ts";
import {
  type Computed,
  compute,
  type Env,
  expect,
  type Names,
  type ValueKind,
  ValueError,
  type Variable,
} from "./expressions.ts";
import { layStages } from "./stages.ts";
import { B, F, I, type Schedule, type Site, W } from "./schedule.ts";
import { ActionList } from "./action-list.ts";

export interface Sizes {
  readonly ranks: number;
  readonly micro: number;
}

/** Some three times 1,024 ranks with 4,096 micro-batches, which take 700 MB. */
export const maxActions: number = 2 ** 25;
export const maxRanks: number = 2 ** 16;

export interface Program {
  readonly decl: PipelineDecl;
  readonly file: string;
  readonly slots: number;
  readonly where: readonly Computed[];
  readonly count: Computed;
  readonly rankSlot: number;
  readonly directions: readonly {
    readonly name: string;
    readonly stages: readonly Computed[];
    readonly span: Span;
  }[];
  readonly lets: readonly { readonly slot: number; readonly value: Computed }[];
  readonly phases: readonly Phase[];
  readonly sites: readonly Site[];
}

export interface Phase {
  readonly name: string;
  readonly slot: number;
  readonly count: Computed | undefined;
  readonly countSpan: Span;
  readonly variable: string | undefined;
  readonly body: Step;
  readonly actions: readonly PipelineAction[];
}

/** Performs an action for the values in `env`: writes it into the rank's list. */
type Step = (env: Env, out: ActionList) => void;

/** The block made ready to evaluate, or undefined after errors in the report. */
export function prepare(file: string, decl: PipelineDecl, report: Report): Program | undefined {
  try {
    return prepareBlock(file, decl, report);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    report.add(error.diagnostic());
    return undefined;
  }
}

function prepareBlock(file: string, decl: PipelineDecl, report: Report): Program | undefined {
  const variables = new Map<string, Variable>();
  const names: Names = { file, variables };
  const at = (span: Span): Place => ({ file, start: span.start, end: span.end });
  let slots = 0;
  const claim = (name: string, kind: ValueKind): number => {
    variables.set(name, { kind, slot: slots });
    return slots++;
  };
  if (decl.params.length !== 2) {
    report.add(
      pipelineItem(
        at(decl.name.span),
        `pipeline '${decl.name.text}' has ${decl.params.length} parameters`,
        "its two are the numbers of ranks and of micro-batches: [P, M]",
      ),
    );
    return undefined;
  }
  for (const { text } of decl.params) claim(text, "number");
  const where = decl.where.map((clause) => expect(names, clause, "condition"));
  let count: Computed | undefined;
  let rankSlot = 0;
  const directions: { name: string; stages: Computed[]; span: Span }[] = [];
  const lets: { slot: number; value: Computed }[] = [];
  const phases: Phase[] = [];
  const sites: Site[] = [];
  for (const item of decl.items) {
    switch (item.kind) {
      case "rank":
        count = expect(names, item.count, "number");
        rankSlot = claim(item.variable.text, "number");
        break;
      case "direction":
        directions.push({
          name: item.name.text,
          stages: item.stages.map((stage) => expect(names, stage, "number")),
          span: item.span,
        });
        // A direction's value is its index, which `evaluate` writes into its slot.
        claim(item.name.text, "direction");
        break;
      case "let": {
        const value = compute(names, item.value);
        lets.push({ slot: claim(item.name.text, value.kind), value });
        break;
      }
      case "phase": {
        const times = item.count === undefined ? undefined : expect(names, item.count, "number");
        const inside = new Map(variables);
        const slot = slots++;
        if (item.variable !== undefined) inside.set(item.variable.text, { kind: "number", slot });
        const cx: Actions = {
          names: { file, variables: inside },
          phase: item.name.text,
          sites,
          directions,
          report,
        };
        phases.push({
          name: item.name.text,
          slot,
          count: times,
          countSpan: item.count?.span ?? item.span,
          variable: item.variable?.text,
          body: steps(cx, item.body),
          actions: item.body,
        });
      }
    }
  }
  if (count === undefined || directions.length === 0 || report.failed) return undefined;
  return { decl, file, slots, where, count, rankSlot, directions, lets, phases, sites };
}

interface Actions {
  readonly names: Names;
  readonly phase: string;
  readonly sites: Site[];
  readonly directions: readonly { readonly name: string; readonly stages: readonly Computed[] }[];
  readonly report: Report;
}

function steps(cx: Actions, actions: readonly PipelineAction[]): Step {
  const list = actions.map((action) => step(cx, action));
  const [first, second] = list;
  if (first !== undefined && list.length === 1) return first;
  if (first !== undefined && second !== undefined && list.length === 2)
    return (env, out) => {
      first(env, out);
      second(env, out);
    };
  return (env, out) => {
    for (const each of list) each(env, out);
  };
}

const kinds: Readonly<Record<string, number>> = { F, B, I, W };

function step(cx: Actions, action: PipelineAction): Step {
  const { names, report } = cx;
  const at = (span: Span): Place => ({ file: names.file, start: span.start, end: span.end });
  switch (action.kind) {
    case "if": {
      const condition = expect(names, action.condition, "condition").run;
      const [then, otherwise] = [steps(cx, action.then), steps(cx, action.else)];
      return (env, out) => {
        if (condition(env) === 1) then(env, out);
        else otherwise(env, out);
      };
    }
    case "overlap": {
      const place = at(action.span);
      const inner = steps(cx, action.actions);
      return (env, out) => {
        const from = out.length;
        inner(env, out);
        if (!out.pair(from)) throw new OverlapError(place);
      };
    }
    case "action": {
      const kind = kinds[action.name.text] ?? F;
      const site = cx.sites.length;
      cx.sites.push({ place: at(action.span), phase: cx.phase });
      if (action.direction === undefined) return (_env, out) => out.pushOwed(-1, -1, site);
      const direction = expect(names, action.direction, "direction").run;
      const slot = action.slot === undefined ? undefined : expect(names, action.slot, "number").run;
      const place = at((action.slot ?? action.direction).span);
      const counts = cx.directions.map(({ stages }) => stages.length);
      const firsts = counts.map((_, d) => counts.slice(0, d).reduce((a, b) => a + b, 0));
      if (slot === undefined && kind !== W && counts.some((n) => n > 1))
        report.add(
          pipelineStages(
            at(action.span),
            "a rank holds several stages of a direction, and this does not say which it is for",
            `${action.name.text}(${cx.directions[0]?.name ?? "down"}, 0) is for the first`,
          ),
        );
      return (env, out) => {
        const d = direction(env);
        const v = slot === undefined ? 0 : slot(env);
        if (v < 0 || v >= (counts[d] ?? 0))
          throw new ValueError(
            place,
            `stage ${v} of '${cx.directions[d]?.name ?? ""}' on a rank that holds ${counts[d] ?? 0}, counted from 0`,
          );
        const lane = (firsts[d] ?? 0) + v;
        if (kind === W) out.pushOwed(d, slot === undefined ? -1 : lane, site);
        else out.push(kind, lane, site);
      };
    }
  }
}

class OverlapError extends Error {
  readonly place: Place;
  constructor(place: Place) {
    super("overlap");
    this.place = place;
  }
}

// ---------------------------------------------------------------- running

/** Whether the block's `where` allows these sizes. */
export function allows(program: Program, { ranks, micro }: Sizes): boolean {
  const env: Env = [ranks, micro];
  try {
    return program.where.every(({ run }) => run(env) === 1);
  } catch (error) {
    if (error instanceof ValueError) return false;
    throw error;
  }
}

/** Every rank's actions, or undefined after errors in the report. */
export function evaluate(program: Program, sizes: Sizes, report: Report): Schedule | undefined {
  const { decl, file } = program;
  const place = { file, start: decl.name.span.start, end: decl.name.span.end };
  const { ranks, micro } = sizes;
  if (!Number.isSafeInteger(ranks) || !Number.isSafeInteger(micro) || ranks < 1 || micro < 1) {
    const what = `${ranks} ranks and ${micro} micro-batches: both are whole numbers from 1 on`;
    report.add(pipelineSizes(place, what));
    return undefined;
  }
  if (!allows(program, sizes)) {
    const [p, m] = decl.params.map(({ text }) => text);
    const first = decl.where.find((_, k) => program.where[k]?.run([sizes.ranks, sizes.micro]) !== 1);
    const at = first === undefined ? place : { file, start: first.span.start, end: first.span.end };
    report.add(
      pipelineSizes(at, `'${decl.name.text}' does not allow ${p} = ${sizes.ranks} and ${m} = ${sizes.micro}`),
    );
    return undefined;
  }
  try {
    return run(program, sizes, place, report);
  } catch (error) {
    if (error instanceof ValueError) report.add(error.diagnostic());
    else if (error instanceof OverlapError)
      report.add(pipelineOverlap(error.place, "this does not overlap one F with one B or I"));
    else throw error;
    return undefined;
  }
}

function run(program: Program, sizes: Sizes, place: Place, report: Report): Schedule | undefined {
  const env: Env = new Array<number>(program.slots).fill(0);
  env[0] = sizes.ranks;
  env[1] = sizes.micro;
  const ranks = program.count.run(env);
  if (ranks < 1 || ranks > maxRanks) {
    report.add(pipelineSizes(place, `${ranks} ranks: there are 1 to ${maxRanks}`));
    return undefined;
  }
  bindDirections(program, env);
  const laid = layStages(program, env, ranks, report);
  if (laid === undefined) return undefined;
  if (!isBounded(program, env, ranks)) {
    report.add(pipelineSizes(place, `this is a schedule of more than ${maxActions} actions`));
    return undefined;
  }
  const out = new ActionList(laid.directionOf);
  const start = new Int32Array(ranks + 1);
  for (let rank = 0; rank < ranks; rank++) {
    env[program.rankSlot] = rank;
    for (const { slot, value } of program.lets) env[slot] = value.run(env);
    out.nextRank();
    for (const phase of program.phases) {
      const times = phaseCount(program, phase, env, rank);
      for (let i = 0; i < times; i++) {
        env[phase.slot] = i;
        phase.body(env, out);
      }
      if (out.length > maxActions) {
        report.add(pipelineSizes(place, `this is a schedule of more than ${maxActions} actions`));
        return undefined;
      }
    }
    start[rank + 1] = out.length;
  }
  return {
    name: program.decl.name.text,
    place,
    ranks,
    micro: sizes.micro,
    ...laid,
    start,
    kind: out.kind,
    lane: out.lane,
    batch: out.batch,
    site: out.site,
    sites: program.sites,
  };
}

/** Whether all phases' iterations are few enough to go through, which is told before the first is. */
function isBounded(program: Program, env: Env, ranks: number): boolean {
  let iterations = 0;
  for (let rank = 0; rank < ranks && iterations <= maxActions; rank++) {
    env[program.rankSlot] = rank;
    for (const { slot, value } of program.lets) env[slot] = value.run(env);
    for (const phase of program.phases) iterations += phaseCount(program, phase, env, rank);
  }
  return iterations <= maxActions;
}

export function phaseCount(program: Program, phase: Phase, env: Env, rank: number): number {
  const times = phase.count?.run(env) ?? 1;
  if (times >= 0 && times <= maxActions) return times;
  const place = { file: program.file, start: phase.countSpan.start, end: phase.countSpan.end };
  const most = times < 0 ? "" : `, and a schedule has up to ${maxActions} actions`;
  throw new ValueError(place, `phase '${phase.name}' runs ${times} times on rank ${rank}${most}`);
}

/** Directions' names stand for their indices; every item of the block has one slot, in order, after the parameters. */
function bindDirections(program: Program, env: Env): void {
  const { decl } = program;
  let slot = decl.params.length;
  let index = 0;
  for (const item of decl.items) {
    if (item.kind === "direction") env[slot] = index++;
    slot += 1;
  }
}
