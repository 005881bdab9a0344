/** The states that the search for violations of a protocol goes through: made comparable, copied, told apart. */

/** How far a role is with a channel: slots filled, taken and released, from an origin that all roles share. */
export interface Cursor {
  filled: number;
  taken: number;
  released: number;
}

export interface RoleState {
  at: number;
  /** Iterations of each loop since it was entered, up to what must be told apart; -1 before. */
  readonly trips: number[];
  readonly cursors: Cursor[];
  /** Products under way, oldest first: the slots that each reads. */
  readonly products: (readonly { readonly channel: number; readonly slot: number }[])[];
  /** How many choices of each kind it has followed, of those that are kept. */
  readonly followed: Map<string, number>;
}

export interface State {
  readonly roles: RoleState[];
  /** Choices that some role has yet to follow. */
  readonly choices: Map<string, boolean[]>;
  /** What was done, the last steps. */
  readonly trace: string[];
}

/** Which roles fill each channel, take from each, and follow each kind of choice. */
export interface Parties {
  readonly fillers: readonly (readonly number[])[];
  readonly takers: readonly (readonly number[])[];
  readonly followers: ReadonlyMap<string, readonly number[]>;
}

/** Counts slots from the oldest that some role holds, and forgets choices that all have followed. */
export function normalise({ roles, choices }: State, { fillers, takers, followers }: Parties): void {
  for (const [channel, own] of takers.entries()) {
    const cursorOf = (role: number): Cursor | undefined => roles[role]?.cursors[channel];
    const origin = Math.min(...own.map((role) => cursorOf(role)?.released ?? 0));
    if (own.length === 0 || origin === 0) continue;
    for (const role of fillers[channel] ?? []) {
      const cursor = cursorOf(role);
      if (cursor !== undefined) cursor.filled -= origin;
    }
    for (const role of own) {
      const cursor = cursorOf(role);
      if (cursor === undefined) continue;
      cursor.taken -= origin;
      cursor.released -= origin;
    }
    for (const { products } of roles)
      for (const [k, reads] of products.entries())
        products[k] = reads.map((read) =>
          read.channel === channel ? { ...read, slot: read.slot - origin } : read,
        );
  }
  for (const [key, list] of choices) {
    const own = followers.get(key) ?? [];
    const done = Math.min(list.length, ...own.map((role) => roles[role]?.followed.get(key) ?? 0));
    if (done === 0) continue;
    choices.set(key, list.slice(done));
    for (const role of own) {
      const followed = roles[role]?.followed;
      followed?.set(key, (followed.get(key) ?? 0) - done);
    }
  }
}

export function copyOf({ roles, choices, trace }: State): State {
  return {
    roles: roles.map((role) => ({
      at: role.at,
      trips: [...role.trips],
      cursors: role.cursors.map((cursor) => ({ ...cursor })),
      products: [...role.products],
      followed: new Map(role.followed),
    })),
    choices: new Map(choices),
    trace: [...trace],
  };
}

export function stateKey({ roles, choices }: State): string {
  return JSON.stringify([
    roles.map(({ at, trips, cursors, products, followed }) => [
      at,
      trips,
      cursors.map(({ filled, taken, released }) => [filled, taken, released]),
      products,
      [...followed].filter(([, count]) => count > 0).sort(),
    ]),
    [...choices].filter(([, list]) => list.length > 0).sort(),
  ]);
}
