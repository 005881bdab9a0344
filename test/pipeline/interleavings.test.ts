/** The proof's verdict against every interleaving of random small schedules, right ones and wrong ones. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { prove } from "../../compiler/pipeline/index.ts";
import { explore, type Op, type Shape } from "./explore.ts";
import { pipelineOf } from "./load.ts";

const shapes = {
  line: ["direction a: stage r"],
  both: ["direction a: stage r", "direction b: stage P - 1 - r"],
  fold: ["direction a: stage r, 2 * P - 1 - r"],
  ring: ["direction a: stage r, P + r"],
} as const;
type ShapeName = keyof typeof shapes;

function shapeOf(name: ShapeName, ranks: number, micro: number): Shape {
  const same = (r: number): number => r;
  const stages = {
    line: [[same]],
    both: [[same], [(r: number): number => ranks - 1 - r]],
    fold: [[same, (r: number): number => 2 * ranks - 1 - r]],
    ring: [[same, (r: number): number => ranks + r]],
  }[name];
  return { ranks, micro, stages };
}

interface Drawn {
  readonly name: ShapeName;
  readonly shape: Shape;
  readonly units: readonly (readonly (readonly Op[])[])[];
  readonly buffers: number;
}

type Pick = (least: number, most: number) => number;

/** The work of one rank, in no order that means anything. Its `W`s name nothing, a direction, or a stage; or this varies. */
function workOf(pick: Pick, shape: Shape, counts: readonly number[]): Op[] {
  const ops: Op[] = [];
  const [naming, kinds] = [pick(0, 6), pick(0, 2)];
  for (const [direction, slots] of shape.stages.entries())
    for (const slot of slots.keys())
      for (let k = 0; k < (counts[direction] ?? 0); k++) {
        ops.push({ kind: "F", direction, slot });
        if (kinds === 0 || (kinds === 1 && pick(0, 1) === 0)) {
          ops.push({ kind: "B", direction, slot });
          continue;
        }
        const named = naming === 6 ? pick(0, 2) : naming >> 1;
        ops.push({ kind: "I", direction, slot });
        ops.push({
          kind: "W",
          direction: named === 0 ? undefined : direction,
          slot: named === 2 ? slot : undefined,
        });
      }
  return ops;
}

/**
 * An order in which the work can be done when queues have no end and nobody minds which message comes first: a random
 * one, one action at a time. What cannot be placed so comes last.
 */
function inSomeOrder(pick: Pick, shape: Shape, work: readonly (readonly Op[])[]): Op[][] {
  const left = work.map((ops) => [...ops]);
  const order: Op[][] = work.map(() => []);
  const done = new Set<string>();
  const counts = new Map<string, number>();
  const owed = work.map((): Op[] => []);
  const fits = (weight: Op, { direction, slot }: Op): boolean =>
    [undefined, direction].includes(weight.direction) && [undefined, slot].includes(weight.slot);
  const stages = shape.stages.map((slots) => slots.length * shape.ranks);
  for (;;) {
    const able: { rank: number; at: number; marks: string }[] = [];
    for (const [rank, ops] of left.entries())
      for (const [at, op] of ops.entries()) {
        if (op.kind === "W") {
          if (owed[rank]?.some((each) => fits(op, each)) === true) able.push({ rank, at, marks: "" });
          continue;
        }
        const d = op.direction ?? 0;
        const stage = shape.stages[d]?.[op.slot ?? 0]?.(rank) ?? 0;
        const way = op.kind === "F" ? "F" : "B";
        const micro = counts.get(`${way} ${d} ${stage}`) ?? 0;
        const before = stage + (way === "F" ? -1 : 1);
        const isFed = before < 0 || before >= (stages[d] ?? 0) || done.has(`${way} ${d} ${before} ${micro}`);
        if (isFed && (way === "F" || done.has(`F ${d} ${stage} ${micro}`)))
          able.push({ rank, at, marks: `${way} ${d} ${stage}` });
      }
    if (able.length === 0) break;
    const chosen = able[pick(0, able.length - 1)];
    if (chosen === undefined) break;
    const { rank, at, marks } = chosen;
    const [op] = left[rank]?.splice(at, 1) ?? [];
    if (op === undefined) break;
    order[rank]?.push(op);
    const own = owed[rank] ?? [];
    if (op.kind === "I") own.push(op);
    if (op.kind === "W")
      own.splice(
        own.findIndex((each) => fits(op, each)),
        1,
      );
    if (marks === "") continue;
    const micro = counts.get(marks) ?? 0;
    done.add(`${marks} ${micro}`);
    counts.set(marks, micro + 1);
  }
  return order.map((ops, rank) => [...ops, ...(left[rank] ?? [])]);
}

function draw(pick: Pick): Drawn {
  const names = Object.keys(shapes) as ShapeName[];
  const name = names[pick(0, names.length - 1)] ?? "line";
  const ranks = pick(2, 3);
  const isWide = name === "fold" || name === "ring";
  const most = isWide ? (ranks === 2 ? 2 : 1) : ranks === 2 ? 4 : 3;
  const counts = shapeOf(name, ranks, 0).stages.map(() => 1);
  const more = pick(0, Math.max(0, most - counts.length));
  for (let k = 0; k < more; k++) {
    const d = pick(0, counts.length - 1);
    counts[d] = (counts[d] ?? 0) + 1;
  }
  const micro = counts.reduce((a, b) => a + b, 0);
  const shape = shapeOf(name, ranks, micro);
  const work = Array.from({ length: ranks }, () => workOf(pick, shape, counts));
  const orders = inSomeOrder(pick, shape, work);
  for (const ops of orders) {
    // Half of the ranks keep their order; the others have a few neighbours swapped, or are shuffled.
    const disorder = pick(0, 7);
    const swaps = disorder < 5 ? 0 : disorder < 7 ? disorder - 4 : 2 * ops.length;
    for (let k = 0; k < swaps; k++) {
      const at = pick(0, ops.length - 2);
      const [a, b] = [ops[at], ops[at + 1]];
      if (a !== undefined && b !== undefined) ops.splice(at, 2, b, a);
    }
    const accident = pick(0, 99);
    if (accident === 0) ops.splice(pick(0, ops.length - 1), 1);
    else if (accident === 1) ops.push(...ops.slice(-1));
  }
  const units = orders.map((ops) => joined(pick, ops));
  return { name, shape, units, buffers: pick(0, 2) === 0 ? pick(1, micro) : 1 };
}

/** Some neighbours overlapped, a forward with a backward. */
function joined(pick: Pick, ops: readonly Op[]): Op[][] {
  const units: Op[][] = [];
  for (let k = 0; k < ops.length; k++) {
    const [a, b] = [ops[k], ops[k + 1]];
    if (a === undefined) continue;
    const isPair =
      b !== undefined && a.kind !== "W" && b.kind !== "W" && (a.kind === "F") !== (b.kind === "F");
    if (isPair && pick(0, 4) === 0) {
      units.push([a, b]);
      k += 1;
    } else units.push([a]);
  }
  return units;
}

function textOf({ name, shape, units }: Drawn): string {
  const isWide = (shape.stages[0]?.length ?? 1) > 1;
  const one = ({ kind, direction, slot }: Op): string => {
    if (direction === undefined) return kind;
    const where = isWide && slot !== undefined ? `, ${slot}` : "";
    return `${kind}(${"ab"[direction] ?? ""}${where})`;
  };
  const phases = units.map((list, rank) => {
    const body = list.map((unit) =>
      unit.length > 1 ? `overlap(${unit.map(one).join(", ")})` : one(unit[0]!),
    );
    return `phase rank${rank} { if r == ${rank} then { ${body.join(", ")} } }`;
  });
  return `pipeline A[P, M] {\n  rank r in P\n  ${[...shapes[name], ...phases].join("\n  ")}\n}\n`;
}

test("a schedule is proved exactly if it does its work on every interleaving, within its buffers", () => {
  const found: Record<string, number> = {};
  const count = (what: string): void => void (found[what] = (found[what] ?? 0) + 1);
  fc.assert(
    fc.property(fc.gen(), (g) => {
      const drawn = draw((min, max) => g(fc.integer, { min, max: Math.max(min, max) }));
      const { name, shape, units, buffers } = drawn;
      const { schedule } = pipelineOf(textOf(drawn), shape.ranks, shape.micro);
      const proof = prove(schedule, { buffers });
      const all = explore(shape, units, buffers);
      // One ends as all others do.
      expect(all.stops).toBe(!all.completes);
      expect(proof.verdict).toBe(all.completes && all.isWhole ? "proved" : "refused");
      for (const what of [
        name,
        `${shape.ranks} ranks`,
        `${units.flat().some((u) => u.length > 1) ? "" : "no "}pairs`,
      ])
        count(`${proof.verdict}, ${what}`);
      count(proof.verdict === "refused" ? proof.diagnostic.code : "proved");
      if (proof.verdict === "refused") {
        if (proof.stuck.some(({ wait }) => wait.kind === "room")) count("refused, a queue is full");
        return;
      }
      if (buffers < shape.micro) count("proved, few buffers");
      const depths = Array.from({ length: shape.ranks }, () => 0);
      for (const [link, depth] of all.deepest) {
        const to = Number(/>(\d+)/.exec(link)?.[1]);
        depths[to] = (depths[to] ?? 0) + depth;
      }
      expect(proof.memory.activations).toEqual(all.activations);
      // On a ring of three, word of a rank can come to its neighbour the other way round: a bound there.
      if (name === "ring" && shape.ranks > 2)
        for (const [rank, depth] of depths.entries())
          expect(proof.memory.buffers[rank]).toBeGreaterThanOrEqual(depth);
      else expect(proof.memory.buffers).toEqual(depths);
    }),
    { numRuns: 2500, seed: 11 },
  );
  // Both verdicts are common everywhere, and so is every reason to refuse.
  const least: Readonly<Record<string, number>> = {
    ...Object.fromEntries(
      [...Object.keys(shapes), "2 ranks", "3 ranks", "pairs", "no pairs"].flatMap((what) => [
        [`proved, ${what}`, 60],
        [`refused, ${what}`, 200],
      ]),
    ),
    "proved, few buffers": 200,
    "refused, a queue is full": 80,
    WF5006: 60,
    WF5007: 100,
    WF5008: 700,
    WF5009: 40,
  };
  for (const [what, number] of Object.entries(least))
    expect(found[what] ?? 0, what).toBeGreaterThanOrEqual(number);
}, 120_000);
