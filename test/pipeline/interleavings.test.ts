/**
 * The proof's verdict against every interleaving of small schedules. The oracle knows nothing of the prover: it reads
 * plain lists of actions, keeps each queue as a list of messages, and tries every next move of every rank.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { actionsOf, prove } from "../../compiler/pipeline/index.ts";
import type { PlainAction } from "../../compiler/pipeline/index.ts";
import { pipelineOf } from "./load.ts";

interface Verdict {
  /** Some interleaving ends with a rank that cannot go on. */
  readonly stops: boolean;
  /** Some interleaving completes. */
  readonly completes: boolean;
  /** The most messages in one queue, on any interleaving. */
  readonly deepest: number;
}

/** Two ranks, one direction, stage r on rank r. */
function explore(lists: readonly (readonly PlainAction[])[], capacity: number): Verdict {
  const units = lists.map((list) => list.map((action) => action.of ?? [action]));
  const isForward = (action: PlainAction): boolean => action.kind === "F";
  interface State {
    readonly at: readonly number[];
    /** Moves of a unit that are done: `r0`, `s1`. */
    readonly moves: readonly (readonly string[])[];
    readonly down: readonly number[];
    readonly up: readonly number[];
  }
  let [stops, completes, deepest] = [false, false, 0];
  const seen = new Set<string>();
  const queue: State[] = [{ at: units.map(() => 0), moves: units.map(() => []), down: [], up: [] }];
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    const key = JSON.stringify(state);
    if (seen.has(key)) continue;
    seen.add(key);
    deepest = Math.max(deepest, state.down.length, state.up.length);
    const next: State[] = [];
    for (const [rank, list] of units.entries()) {
      const position = state.at[rank] ?? 0;
      const unit = list[position];
      if (unit === undefined) continue;
      const done = state.moves[rank] ?? [];
      const ownForwards = list.slice(0, position).flat().filter(isForward).length;
      const received = unit.every((_, k) => done.includes(`r${k}`));
      for (const [k, action] of unit.entries()) {
        const takes =
          action.kind === "W"
            ? undefined
            : isForward(action)
              ? rank === 1
                ? "down"
                : undefined
              : rank === 0
                ? "up"
                : undefined;
        const gives =
          action.kind === "W"
            ? undefined
            : isForward(action)
              ? rank === 0
                ? "down"
                : undefined
              : rank === 1
                ? "up"
                : undefined;
        const move = (name: string, changed: Partial<State>): State => {
          const after = [...done, name].sort();
          const isOver = unit.every((_, j) => after.includes(`r${j}`) && after.includes(`s${j}`));
          return {
            ...state,
            ...changed,
            moves: state.moves.map((each, r) => (r === rank ? (isOver ? [] : after) : each)),
            at: state.at.map((each, r) => (r === rank && isOver ? each + 1 : each)),
          };
        };
        if (!done.includes(`r${k}`)) {
          const isReady = isForward(action) || action.kind === "W" || ownForwards > action.micro;
          if (!isReady) continue;
          if (takes === undefined) next.push(move(`r${k}`, {}));
          else if (state[takes][0] === action.micro)
            next.push(move(`r${k}`, { [takes]: state[takes].slice(1) }));
        } else if (received && !done.includes(`s${k}`)) {
          if (gives === undefined) next.push(move(`s${k}`, {}));
          else if (state[gives].length < capacity)
            next.push(move(`s${k}`, { [gives]: [...state[gives], action.micro] }));
        }
      }
    }
    if (next.length > 0) queue.push(...next);
    else if (units.every((list, rank) => (state.at[rank] ?? 0) === list.length)) completes = true;
    else stops = true;
  }
  return { stops, completes, deepest };
}

/** A rank's actions: M forwards and M backwards in some order, some of them overlapped. */
const rankText = (micro: number): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.shuffledSubarray(
        [...Array<string>(micro).fill("F(down)"), ...Array<string>(micro).fill("B(down)")],
        { minLength: 2 * micro },
      ),
      fc.array(fc.boolean(), { minLength: 2 * micro, maxLength: 2 * micro }),
    )
    .map(([order, joins]) => {
      const out: string[] = [];
      for (let k = 0; k < order.length; k++) {
        const [a, b] = [order[k] ?? "", order[k + 1]];
        if (b !== undefined && a !== b && joins[k] === true) {
          out.push(`overlap(${a}, ${b})`);
          k += 1;
        } else out.push(a);
      }
      return out.join(", ");
    });

const random = fc.integer({ min: 1, max: 3 }).chain((micro) =>
  fc.record({
    micro: fc.constant(micro),
    first: rankText(micro),
    second: rankText(micro),
    buffers: fc.integer({ min: 1, max: 3 }),
  }),
);

test("a schedule is proved exactly if it completes on every interleaving, within its buffers", () => {
  const verdicts = { proved: 0, refused: 0 };
  fc.assert(
    fc.property(random, ({ micro, first, second, buffers }) => {
      const text = `pipeline A[P, M] {\n  rank r in P\n  direction down: stage r\n  phase a {\n    if r == 0 then { ${first} } else { ${second} }\n  }\n}\n`;
      const { schedule } = pipelineOf(text, 2, micro);
      const proof = prove(schedule, { buffers });
      const all = explore([actionsOf(schedule, 0), actionsOf(schedule, 1)], buffers);
      verdicts[proof.verdict] += 1;
      expect(all.stops).toBe(proof.verdict === "refused");
      expect(all.completes).toBe(proof.verdict === "proved");
      expect(all.deepest).toBeLessThanOrEqual(buffers);
      if (proof.verdict === "proved") expect(proof.memory.queue).toBe(all.deepest);
    }),
    { numRuns: 600, seed: 7 },
  );
  expect(Math.min(verdicts.proved, verdicts.refused)).toBeGreaterThan(30);
});
