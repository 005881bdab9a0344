/**
 * Whether the roles of a tile program can meet at its channels, whatever the trip counts are: a search over the states
 * of all roles, before anything is emitted.
 *
 * What holds for a program without a problem:
 *
 *  1. Some role can always go on until all are done.
 *  2. A slot is read only between its take and its release, and no product that still reads it is under way then.
 *  3. What was filled was taken and released, by each role that takes, when all are done.
 *
 * How often a loop runs, and which way a branch goes, is not known; a choice is made once, and all roles that have the
 * loop or the condition follow it, in the same order. Conditions on a loop's own bounds (its first iteration, whether
 * it ran, whether it goes on for so many iterations more) are decided from its choices. Counters of channels are kept relative to each other, so that states are few
 * and the search ends.
 *
 * Of the interleavings of one sequence of choices, one is enough. Each role has a cursor of its own at each channel, and
 * may go on when others have come far enough: what one role does never stops another that could go on, and both orders
 * of two steps lead to the same state.
 */
import type { Channel, TileExpr, TileOp, TileProgram } from "./ir.ts";
import { copyOf, normalise, stateKey, type Cursor, type Parties, type State } from "./protocol-state.ts";
import { aheadOf, keyOf, stepsOf, valueOf, type Ahead, type Loop, type RoleSteps } from "./protocol-steps.ts";

export interface Violation {
  readonly kind:
    "stuck" | "read-untaken" | "released-in-use" | "released-untaken" | "left-over" | "undecided";
  readonly role: string;
  readonly channel: string | undefined;
  /** A sentence. */
  readonly message: string;
  /** What led there, the last steps, oldest first. */
  readonly trace: readonly string[];
}

/** The first violation that the search finds; undefined for a protocol that holds, and for a program without roles. */
export function checkProtocol(program: TileProgram): Violation | undefined {
  const found = program.body.find((op): op is Extract<TileOp, { kind: "roles" }> => op.kind === "roles");
  if (found === undefined || program.channels.length === 0) return undefined;
  const roles = found.roles.map((role) => stepsOf(role, program.channels));
  return new Search(roles, program.channels).run();
}

export function violationText({ message, trace }: Violation): string {
  return [message, ...trace.map((step) => `  ${step}`)].join("\n");
}

/** A step that waits for a choice, by its key. */
interface Choosing {
  readonly role: number;
  readonly key: string;
  readonly what: string;
}

const keptTrace = 16;
/** A protocol with more states is refused: none that the schedules make comes near. */
const mostStates = 20_000;
const mostProducts = 64;

class Search {
  readonly #roles: readonly RoleSteps[];
  readonly #channels: readonly Channel[];
  readonly #parties: Parties;

  constructor(roles: readonly RoleSteps[], channels: readonly Channel[]) {
    this.#roles = roles;
    this.#channels = channels;
    const those = (kind: "fill" | "take"): number[][] =>
      channels.map((channel) =>
        roles.flatMap(({ steps }, role) =>
          steps.some((step) => step.kind === kind && step.channel === channel) ? [role] : [],
        ),
      );
    const followers = new Map<string, number[]>();
    for (const [role, { steps, loops }] of roles.entries()) {
      const keys = new Set(loops.map(({ key }) => key));
      for (const step of steps) {
        const condition =
          step.kind === "branch" ? step.condition : step.kind === "release" ? step.where : undefined;
        if (condition !== undefined) keys.add(keyOf(condition));
      }
      for (const key of keys) followers.set(key, [...(followers.get(key) ?? []), role]);
    }
    this.#parties = { fillers: those("fill"), takers: those("take"), followers };
  }

  run(): Violation | undefined {
    const seen = new Set<string>();
    const stack = [this.#first()];
    for (let state = stack.pop(); state !== undefined; state = stack.pop()) {
      const end = this.#advance(state);
      if (end === undefined) continue;
      if ("kind" in end) return end;
      const key = stateKey(state);
      if (seen.has(key)) continue;
      seen.add(key);
      if (seen.size > mostStates)
        return this.#violation(state, end.role, "undecided", undefined, `${mostStates} states are not all`);
      for (const choice of [true, false]) {
        const next = copyOf(state);
        next.choices.set(end.key, [...(next.choices.get(end.key) ?? []), choice]);
        stack.push(next);
      }
    }
    return undefined;
  }

  #first(): State {
    const roles = this.#roles.map(({ loops }): State["roles"][number] => ({
      at: 0,
      trips: loops.map(() => -1),
      cursors: this.#channels.map(() => ({ filled: 0, taken: 0, released: 0 })),
      products: [],
      followed: new Map(),
    }));
    return { roles, choices: new Map(), trace: [] };
  }

  /** Runs roles until a choice is to be made, something is wrong, or all are done: undefined. */
  #advance(state: State): Violation | Choosing | undefined {
    let choosing: Choosing | undefined;
    for (let moved = true; moved;) {
      moved = false;
      choosing = undefined;
      for (let role = 0; role < this.#roles.length; role++) {
        for (;;) {
          const result = this.#step(state, role);
          if (result === "done" || result === "waits") break;
          if (result === "moved") {
            moved = true;
            continue;
          }
          if ("kind" in result) return result;
          choosing ??= result;
          break;
        }
      }
    }
    state.trace.splice(0, state.trace.length - keptTrace);
    normalise(state, this.#parties);
    if (choosing !== undefined) return choosing;
    const waiting = state.roles.findIndex(({ at }, role) => at < (this.#roles[role]?.steps.length ?? 0));
    return waiting < 0 ? this.#leftOver(state) : this.#stuck(state);
  }

  #step(state: State, role: number): "done" | "waits" | "moved" | Choosing | Violation {
    const program = this.#roles[role];
    const own = state.roles[role];
    const step = program?.steps[own?.at ?? 0];
    if (program === undefined || own === undefined || step === undefined) return "done";
    const say = (text: string): void => void state.trace.push(`${program.name} ${text}`);
    switch (step.kind) {
      case "jump":
        own.at = step.to;
        return "moved";
      case "enter":
        own.trips[step.loop] = 0;
        own.at += 1;
        return "moved";
      case "loop": {
        const loop = program.loops[step.loop];
        const trips = own.trips[step.loop] ?? 0;
        if (loop === undefined) return "done";
        const known = goesOn(loop, trips);
        // What is known is a choice too: another role may not know it.
        const goes =
          loop.exactly === undefined
            ? this.#choice(state, role, loop.key, `${loop.counter} goes on`, known)
            : known;
        if (typeof goes === "object") return goes;
        if (goes === true) {
          own.trips[step.loop] = Math.min(trips + 1, loop.exactly ?? 2);
          say(`begins an iteration of ${loop.counter}`);
        }
        own.at = goes === true ? own.at + 1 : step.exit;
        return "moved";
      }
      case "branch": {
        const ahead = aheadOf(step.condition, program.loops, own.at);
        const goes =
          ahead === undefined
            ? this.#condition(state, role, step.condition)
            : this.#goesOn(state, role, ahead);
        if (typeof goes === "object") return goes;
        own.at = goes ? own.at + 1 : step.otherwise;
        return "moved";
      }
      case "claim":
      case "fill":
      case "take": {
        const channel = this.#channels.indexOf(step.channel);
        const cursor = own.cursors[channel];
        if (cursor === undefined) return "done";
        if (!this.#isReady(state, step.kind === "take" ? "take" : "fill", channel, cursor)) return "waits";
        say(`${step.kind}s a slot of ${step.channel.name}`);
        if (step.kind === "fill") cursor.filled += 1;
        if (step.kind === "take") cursor.taken += 1;
        own.at += 1;
        return "moved";
      }
      case "release": {
        const goes = step.where === undefined ? true : this.#condition(state, role, step.where);
        if (typeof goes === "object") return goes;
        own.at += 1;
        return goes ? this.#release(state, role, step.channel, say) : "moved";
      }
      case "read":
      case "issue": {
        const slots = step.slots.map(({ channel, isOldest }) => {
          const at = this.#channels.indexOf(channel);
          const { taken = 0, released = 0 } = own.cursors[at] ?? {};
          return { channel: at, slot: isOldest ? released : taken - 1 };
        });
        const free = slots.find(({ channel, slot }) => {
          const { taken = 0, released = 0 } = own.cursors[channel] ?? {};
          return slot < released || slot >= taken;
        });
        if (free !== undefined)
          return this.#violation(
            state,
            role,
            "read-untaken",
            free.channel,
            "reads a slot that it does not hold",
          );
        if (step.kind === "issue") {
          own.products.push(slots);
          if (own.products.length > mostProducts)
            return this.#violation(
              state,
              role,
              "undecided",
              undefined,
              `has more than ${mostProducts} products under way`,
            );
        }
        own.at += 1;
        return "moved";
      }
      case "await":
        own.products.splice(0, Math.max(0, own.products.length - step.pending));
        own.at += 1;
        return "moved";
    }
  }

  #release(
    state: State,
    role: number,
    channel: Channel,
    say: (text: string) => void,
  ): "moved" | "done" | Violation {
    const own = state.roles[role];
    const at = this.#channels.indexOf(channel);
    const cursor = own?.cursors[at];
    if (own === undefined || cursor === undefined) return "done";
    if (cursor.released >= cursor.taken)
      return this.#violation(state, role, "released-untaken", at, "releases a slot that it has not taken");
    const isRead = own.products.some((reads) =>
      reads.some((read) => read.channel === at && read.slot === cursor.released),
    );
    if (isRead)
      return this.#violation(
        state,
        role,
        "released-in-use",
        at,
        "releases a slot that a product under way reads",
      );
    say(`releases a slot of ${channel.name}`);
    cursor.released += 1;
    return "moved";
  }

  /** Filling waits for all who take, taking for all who fill. */
  #isReady(state: State, kind: "fill" | "take", channel: number, cursor: Cursor): boolean {
    const { fillers, takers } = this.#parties;
    const others = (kind === "fill" ? takers : fillers)[channel] ?? [];
    const depth = this.#channels[channel]?.depth ?? 0;
    // Slots that nobody takes are never free again.
    if (others.length === 0) return kind === "fill" && cursor.filled < depth;
    return others.every((role) => {
      const other = state.roles[role]?.cursors[channel];
      if (other === undefined) return false;
      return kind === "fill" ? other.released + depth > cursor.filled : other.filled > cursor.taken;
    });
  }

  /** What a condition is: by what the loops' choices say of it, else a choice of its own. */
  #condition(state: State, role: number, condition: TileExpr): boolean | Choosing {
    const known = valueOf(condition, this.#roles[role]?.loops ?? [], state.roles[role]?.trips ?? []);
    return known ?? this.#choice(state, role, keyOf(condition), "a condition holds", undefined);
  }

  /** Whether a loop makes so many iterations more; those that nobody has chosen yet are chosen now. */
  #goesOn(state: State, role: number, { loop: number, iterations }: Ahead): boolean | Choosing {
    const loop = this.#roles[role]?.loops[number];
    const own = state.roles[role];
    if (loop === undefined || own === undefined) return false;
    const isInside = own.at > loop.begins;
    const made = isInside ? (own.trips[number] ?? 0) : 0;
    if (loop.exactly !== undefined) return made + iterations <= loop.exactly;
    if (loop.most !== undefined && made + iterations > loop.most) return false;
    const list = [...(state.choices.get(loop.key) ?? [])];
    const place = own.followed.get(loop.key) ?? 0;
    for (let k = 0; k < iterations; k += 1) {
      if (list[place + k] === undefined && !isInside && k < loop.least) {
        list.push(true);
        state.choices.set(loop.key, [...list]);
      }
      const goes = list[place + k];
      if (goes === undefined) return { role, key: loop.key, what: `${loop.counter} goes on` };
      if (!goes) return false;
    }
    return true;
  }

  /** The next choice of this key that the role follows; who is first and knows it makes it. */
  #choice(
    state: State,
    role: number,
    key: string,
    what: string,
    known: boolean | undefined,
  ): boolean | Choosing {
    const own = state.roles[role];
    const place = own?.followed.get(key) ?? 0;
    const list = state.choices.get(key) ?? [];
    let choice = list[place];
    if (choice === undefined && known !== undefined) {
      state.choices.set(key, [...list, known]);
      choice = known;
    }
    if (choice === undefined) return { role, key, what };
    own?.followed.set(key, place + 1);
    return choice;
  }

  #stuck(state: State): Violation {
    const waits = state.roles.flatMap(({ at }, role) => {
      const { name = "", steps = [] } = this.#roles[role] ?? {};
      const step = steps[at];
      if (step === undefined) return [];
      return [`${name} waits to ${step.kind}${"channel" in step ? ` ${step.channel.name}` : ""}`];
    });
    const first = state.roles.findIndex(({ at }, role) => at < (this.#roles[role]?.steps.length ?? 0));
    const step = this.#roles[first]?.steps[state.roles[first]?.at ?? 0];
    const channel =
      step !== undefined && "channel" in step ? this.#channels.indexOf(step.channel) : undefined;
    return this.#violation(state, first, "stuck", channel, `is stuck: ${waits.join(", ")}`);
  }

  #leftOver(state: State): Violation | undefined {
    const { fillers, takers } = this.#parties;
    for (const [at, { name }] of this.#channels.entries()) {
      const filled = (fillers[at] ?? []).map((role) => state.roles[role]?.cursors[at]?.filled ?? 0);
      const most = Math.max(0, ...filled);
      const least = filled.findIndex((count) => count < most);
      const behind = fillers[at]?.[least];
      if (behind !== undefined)
        return this.#violation(
          state,
          behind,
          "left-over",
          at,
          `ends with fewer slots of ${name} filled than others`,
        );
      for (const role of takers[at] ?? []) {
        const { taken = 0, released = 0 } = state.roles[role]?.cursors[at] ?? {};
        const [left, what] = taken < most ? [most - taken, "taken"] : [taken - released, "released"];
        if (left > 0)
          return this.#violation(
            state,
            role,
            "left-over",
            at,
            `ends with ${left} slots of ${name} not ${what}`,
          );
      }
      if ((takers[at] ?? []).length === 0 && most > 0)
        return this.#violation(
          state,
          fillers[at]?.[0] ?? 0,
          "left-over",
          at,
          `fills ${name}, and nobody takes`,
        );
    }
    return undefined;
  }

  #violation(
    state: State,
    role: number,
    kind: Violation["kind"],
    channel: number | undefined,
    text: string,
  ): Violation {
    const name = this.#roles[role]?.name ?? "";
    const on = channel === undefined ? undefined : this.#channels[channel]?.name;
    const where = on === undefined || text.includes(on) ? "" : ` of ${on}`;
    const trace = state.trace.slice(-keptTrace);
    return { kind, role: name, channel: on, message: `role ${name} ${text}${where}`, trace };
  }
}

/** Whether a loop that has made some trips makes another, where that is known. */
function goesOn({ exactly, least, most }: Loop, trips: number): boolean | undefined {
  if (exactly !== undefined) return trips < exactly;
  if (trips < Math.min(least, 1)) return true;
  return most !== undefined && trips >= most ? false : undefined;
}
