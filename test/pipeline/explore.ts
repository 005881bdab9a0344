/**
 * Every interleaving of a small schedule, by search over its states. It shares nothing with the compiler: it numbers the
 * micro-batches itself, resolves each `W` itself, and keeps every queue as the list of messages that is in it.
 */
export interface Op {
  readonly kind: "F" | "B" | "I" | "W";
  /** Of a `W`: undefined for the oldest of any lane, or of any lane of the direction. */
  readonly direction: number | undefined;
  readonly slot: number | undefined;
}

export interface Shape {
  readonly ranks: number;
  readonly micro: number;
  /** `stages[direction][slot](rank)`. */
  readonly stages: readonly (readonly ((rank: number) => number)[])[];
}

export interface Explored {
  /** Some interleaving ends with a rank that cannot go on. */
  readonly stops: boolean;
  /** Some interleaving performs all actions. */
  readonly completes: boolean;
  /** All micro-batches pass every stage once each way, and every `I` has its `W`. */
  readonly isWhole: boolean;
  /** The most messages that a queue holds on any interleaving, by sender, receiver, direction and way. */
  readonly deepest: ReadonlyMap<string, number>;
  /** By rank: the most activations at once. */
  readonly activations: readonly number[];
  readonly states: number;
}

/** An action with its numbers: stage, and micro-batch, -1 for a `W` with nothing owed. */
interface Step {
  readonly kind: Op["kind"];
  readonly direction: number;
  readonly stage: number;
  readonly micro: number;
}

function numbered(shape: Shape, rank: number, units: readonly (readonly Op[])[]): Step[][] {
  const next = new Map<string, number>();
  const owed: Step[] = [];
  return units.map((unit) =>
    unit.map((op): Step => {
      if (op.kind === "W") {
        const at = owed.findIndex(
          ({ direction, stage }) =>
            (op.direction === undefined || op.direction === direction) &&
            (op.direction === undefined ||
              op.slot === undefined ||
              shape.stages[op.direction]?.[op.slot]?.(rank) === stage),
        );
        const [found] = at < 0 ? [] : owed.splice(at, 1);
        return {
          kind: "W",
          direction: found?.direction ?? 0,
          stage: found?.stage ?? -1,
          micro: found?.micro ?? -1,
        };
      }
      const direction = op.direction ?? 0;
      const stage = shape.stages[direction]?.[op.slot ?? 0]?.(rank) ?? -1;
      const key = `${direction} ${stage} ${op.kind === "F"}`;
      const micro = next.get(key) ?? 0;
      next.set(key, micro + 1);
      const step: Step = { kind: op.kind, direction, stage, micro };
      if (op.kind === "I") owed.push(step);
      return step;
    }),
  );
}

export function explore(
  shape: Shape,
  schedule: readonly (readonly (readonly Op[])[])[],
  capacity: number,
): Explored {
  const { ranks } = shape;
  const units = schedule.map((list, rank) => numbered(shape, rank, list));
  const rankOf = (direction: number, stage: number): number => {
    for (let rank = 0; rank < ranks; rank++)
      if (shape.stages[direction]?.some((at) => at(rank) === stage) === true) return rank;
    return -1;
  };
  /** `does[rank][unit][step]`: the queues' names, what is taken out and put in, and what this rank must have done. */
  const does = units.map((list, rank) =>
    list.map((unit, position) =>
      unit.map((step) => {
        const { kind, direction, stage, micro } = step;
        const way = kind === "F" ? 1 : -1;
        const link = (from: number, to: number): string => `${from}>${to} ${direction} ${way}`;
        const [before, after] = [rankOf(direction, stage - way), rankOf(direction, stage + way)];
        const isDone = (wanted: string, at: number): boolean =>
          list
            .slice(0, position)
            .flat()
            .some(
              (each) =>
                wanted.includes(each.kind) &&
                each.direction === direction &&
                each.stage === at &&
                each.micro === micro,
            );
        const isWeight = kind === "W";
        const ready =
          (!isWeight || micro >= 0) &&
          (kind === "F" || isWeight || isDone("F", stage)) &&
          (isWeight || before !== rank || isDone(kind === "F" ? "F" : "BI", stage - way));
        return {
          ready,
          takes: isWeight || before < 0 || before === rank ? undefined : link(before, rank),
          gives: isWeight || after < 0 || after === rank ? undefined : link(rank, after),
          expects: String.fromCharCode(64 + (stage - way) * 8 + micro),
          makes: String.fromCharCode(64 + stage * 8 + micro),
        };
      }),
    ),
  );
  const links = [...new Set(does.flat(2).flatMap(({ takes, gives }) => [takes ?? [], gives ?? []].flat()))];
  const numberOf = new Map(links.map((name, k) => [name, k]));

  /** By rank: the unit, and a bit for each message that it took (1, 2) and put in (4, 8). */
  interface State {
    readonly at: readonly number[];
    readonly bits: readonly number[];
    readonly queues: readonly string[];
  }
  const zeros = units.map(() => 0);
  const open: State[] = [{ at: zeros, bits: zeros, queues: links.map(() => "") }];
  const seen = new Set<string>();
  const deepest = new Map<string, number>();
  let [stops, completes] = [false, false];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const key = `${state.at.join()} ${state.bits.join()} ${state.queues.join()}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const [k, queue] of state.queues.entries()) {
      const name = links[k] ?? "";
      deepest.set(name, Math.max(deepest.get(name) ?? 0, queue.length));
    }
    let moves = 0;
    for (const [rank, list] of does.entries()) {
      const unit = list[state.at[rank] ?? 0];
      if (unit === undefined) continue;
      const bits = state.bits[rank] ?? 0;
      const all = unit.length === 1 ? 1 : 3;
      for (const [k, { ready, takes, gives, expects, makes }] of unit.entries()) {
        const isTaken = (bits & (1 << k)) !== 0;
        const isGiven = (bits & (4 << k)) !== 0;
        if (isTaken && (isGiven || (bits & all) !== all)) continue;
        const q = numberOf.get((isTaken ? gives : takes) ?? "");
        const queue = q === undefined ? "" : (state.queues[q] ?? "");
        if (!isTaken && (!ready || (q !== undefined && queue[0] !== expects))) continue;
        if (isTaken && q !== undefined && queue.length >= capacity) continue;
        const after = bits | (isTaken ? 4 << k : 1 << k);
        const isOver = after === (all | (all << 2));
        const changed = isTaken ? queue + makes : queue.slice(1);
        moves += 1;
        open.push({
          at: isOver ? state.at.map((each, r) => (r === rank ? each + 1 : each)) : state.at,
          bits: state.bits.map((each, r) => (r === rank ? (isOver ? 0 : after) : each)),
          queues: q === undefined ? state.queues : state.queues.map((each, j) => (j === q ? changed : each)),
        });
      }
    }
    if (moves > 0) continue;
    if (units.every((list, rank) => state.at[rank] === list.length)) completes = true;
    else stops = true;
  }
  return {
    stops,
    completes,
    isWhole: isWhole(shape, units),
    deepest,
    activations: units.map(mostActivations),
    states: seen.size,
  };
}

function isWhole({ ranks, micro, stages }: Shape, units: readonly (readonly (readonly Step[])[])[]): boolean {
  let total = 0;
  for (const [direction, slots] of stages.entries()) {
    const counts = new Set<number>();
    for (let stage = 0; stage < ranks * slots.length; stage++) {
      const own = units.flat(2).filter((step) => step.direction === direction && step.stage === stage);
      const of = (kinds: string): string =>
        own
          .filter(({ kind }) => kinds.includes(kind))
          .map((step) => step.micro)
          .sort((a, b) => a - b)
          .join();
      if (of("F") !== of("BI") || of("I") !== of("W")) return false;
      counts.add(own.filter(({ kind }) => kind === "F").length);
    }
    if (counts.size !== 1) return false;
    total += Math.max(...counts);
  }
  return total === micro && units.flat(2).every((step) => step.micro >= 0);
}

function mostActivations(units: readonly (readonly Step[])[]): number {
  let [live, most] = [0, 0];
  for (const unit of units) {
    live += unit.filter(({ kind }) => kind === "F").length;
    most = Math.max(most, live);
    live -= unit.filter(({ kind }) => kind === "B" || kind === "W").length;
  }
  return most;
}
