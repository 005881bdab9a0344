/** `schedule`: that its words and names mean something here. Whether it fits a kernel is seen when that is scheduled. */
import type { Name, ScheduleClause, ScheduleDecl, ScheduleItem } from "../../grammar/ast.ts";
import { scheduleAxis, scheduleClause, scheduleItem } from "../diagnostics/directives.ts";
import { targetsOf } from "./directives.ts";
import { type FileScope, type FnEntity, isCapital, placeOf } from "./scope.ts";
import type { TypedSchedule } from "./typed.ts";

export function checkSchedules(scope: FileScope): TypedSchedule[] {
  return scope.ast.declarations.flatMap((decl) =>
    decl.kind === "schedule" ? [scheduleOf(scope, decl)] : [],
  );
}

/** Clauses with an example each, which a message shows. */
const clauses: ReadonlyMap<string, string> = new Map([
  ["tile", "tile (S H) 64, T 64"],
  ["split", "split T auto"],
  ["roles", "roles copy 0, math 2 over Ck"],
  ["stages", "stages 2"],
  ["persistent", "persistent"],
  ["cluster", "cluster 2"],
  ["shared", "shared 1"],
  ["warps", "warps 4"],
  ["threads", "threads 256"],
]);

const targetNames = /^(sm_[0-9]{2,3}a?|ptx|cuda|wgsl|llvm|js)$/;
const warp = 32;
const warpgroup = 128;

type Knobs = { -readonly [K in keyof TypedSchedule["knobs"]]: TypedSchedule["knobs"][K] };

/** What the clauses have said so far. */
interface Said {
  readonly tile: TypedSchedule["tile"][number][];
  readonly split: TypedSchedule["split"][number][];
  readonly knobs: Knobs;
  over: string | undefined;
}

function scheduleOf(scope: FileScope, decl: ScheduleDecl): TypedSchedule {
  const { path, kernel } = targetOf(scope, decl.target);
  const fns = targetsOf(scope, path, "WF4002");
  const target = path.map(({ text }) => text).join(".");
  if (!targetNames.test(decl.on.text))
    scope.report.add(
      scheduleItem(
        placeOf(scope, decl.on.span),
        `I know no target '${decl.on.text}'`,
        "a target is sm_80 and up (sm_90a), ptx, cuda, wgsl, llvm or js",
      ),
    );
  const said: Said = { tile: [], split: [], knobs: {}, over: undefined };
  for (const clause of decl.clauses) {
    readClause(scope, clause, said);
    checkAxes(scope, clause, target, fns);
  }
  const { tile, split, knobs, over } = said;
  return { target, kernel, on: decl.on.text, tile, split, knobs, over, place: placeOf(scope, decl.span) };
}

/** A function's path, and the name of one of its kernels behind that. */
function targetOf(
  scope: FileScope,
  names: readonly Name[],
): { readonly path: readonly Name[]; readonly kernel: string | undefined } {
  const [first] = names;
  const entity = first === undefined ? undefined : scope.names.get(first.text);
  const length = entity?.kind === "fn" ? 1 : 2;
  return names.length === length + 1
    ? { path: names.slice(0, length), kernel: names[length]?.text }
    : { path: names, kernel: undefined };
}

// ---------------------------------------------------------------- clauses

function readClause(scope: FileScope, clause: ScheduleClause, said: Said): void {
  const word = clause.keyword.text;
  const example = clauses.get(word);
  const place = placeOf(scope, clause.keyword.span);
  if (example === undefined) {
    scope.report.add(scheduleClause(place, word, [...clauses.keys()]));
    return;
  }
  const { items } = clause;
  const refuse = (message: string, at = place): void => scope.report.add(scheduleItem(at, message, example));
  const numbers = items.flatMap((item) => item.parts).filter((part) => part.kind === "number");
  const bad = numbers.find((part) => !Number.isSafeInteger(part.value) || part.value < 0);
  if (bad !== undefined) return refuse(`'${word}' takes whole numbers`, placeOf(scope, bad.span));
  const set = (knob: keyof Knobs, value: number): void => {
    if (said.knobs[knob] !== undefined) refuse(`'${word}' says again how many ${knob} there are`);
    said.knobs[knob] = value;
  };
  switch (word) {
    case "persistent":
      if (items.length > 0)
        return scope.report.add(scheduleItem(place, "'persistent' stands alone", undefined));
      return set("persistent", 1);
    case "stages":
    case "cluster":
    case "shared":
    case "threads":
    case "warps": {
      const [item] = items;
      const [part] = item?.parts ?? [];
      if (
        items.length !== 1 ||
        item?.parts.length !== 1 ||
        part?.kind !== "number" ||
        (part.value < 1 && word !== "shared")
      )
        return refuse(`'${word}' takes a number`);
      if (word === "warps") return set("threads", part.value * warp);
      return set(word, part.value);
    }
  }
  if (items.length === 0) return refuse(`'${word}' takes a list`);
  for (const item of items) {
    const at = placeOf(scope, item.span);
    const problem =
      word === "tile"
        ? readTile(item, said)
        : word === "split"
          ? readSplit(item, said, at)
          : readRole(item, said, set);
    if (problem !== undefined) refuse(problem, at);
  }
}

function readTile(item: ScheduleItem, said: Said): string | undefined {
  const [axis, size, ...rest] = item.parts;
  const axes =
    axis?.kind === "group"
      ? axis.axes.map(({ text }) => text)
      : axis?.kind === "word"
        ? [axis.text]
        : undefined;
  if (axes === undefined || size?.kind !== "number" || size.value < 1 || rest.length > 0)
    return "a tile has an axis or a group of axes, and a size from 1";
  if (said.tile.some((one) => one.axes.some((name) => axes.includes(name))))
    return `'${axes.join(" ")}' has two sizes`;
  said.tile.push({ axes, size: size.value });
  return undefined;
}

function readSplit(item: ScheduleItem, said: Said, place: TypedSchedule["place"]): string | undefined {
  const [axis, parts, ...rest] = item.parts;
  const isAuto = parts?.kind === "word" && parts.text === "auto";
  const isCount = parts?.kind === "number" && parts.value >= 1;
  if (axis?.kind !== "word" || rest.length > 0 || !(isAuto || isCount))
    return "a split has an axis, and a number of parts from 1 or 'auto'";
  said.split.push({ axis: axis.text, parts: isCount ? parts.value : undefined, place });
  return undefined;
}

function readRole(
  item: ScheduleItem,
  said: Said,
  set: (knob: keyof Knobs, value: number) => void,
): string | undefined {
  const [role, count, over, axis, ...rest] = item.parts;
  const isRole = role?.kind === "word" && (role.text === "copy" || role.text === "math");
  if (!isRole || count?.kind !== "number" || rest.length > 0)
    return "a role is 'copy' or 'math' and a number of warpgroups";
  if (over !== undefined) {
    if (role.text !== "math" || over.kind !== "word" || over.text !== "over" || axis?.kind !== "word")
      return "behind the warpgroups of 'math' stands 'over' and the axis that they share";
    said.over = axis.text;
  }
  if (role.text === "math" && count.value < 1) return "somebody has to compute: 'math' is 1 or more";
  set(
    role.text === "copy" ? "copy" : "threads",
    role.text === "copy" ? count.value : count.value * warpgroup,
  );
  return undefined;
}

// ---------------------------------------------------------------- axes

/** Sizes are known here; an index variable of a kernel is looked for in that. */
function checkAxes(
  scope: FileScope,
  clause: ScheduleClause,
  target: string,
  fns: readonly FnEntity[] | undefined,
): void {
  if (fns === undefined || fns.some((fn) => fn.typed === undefined)) return;
  const known = new Set(
    fns.flatMap((fn) => [
      ...(fn.typed?.dims ?? []),
      ...(fn.typed?.freeDims ?? []),
      ...(fn.typed?.module?.dims ?? []),
    ]),
  );
  const axes = clause.items.flatMap((item) =>
    item.parts.flatMap((part): readonly Name[] =>
      part.kind === "group" ? part.axes : part.kind === "word" ? [{ text: part.text, span: part.span }] : [],
    ),
  );
  for (const axis of axes) {
    if (isCapital(axis.text) && !known.has(axis.text))
      scope.report.add(scheduleAxis(placeOf(scope, axis.span), axis.text, target, [...known]));
  }
}
