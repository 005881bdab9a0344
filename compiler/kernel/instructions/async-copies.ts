/**
 * Copies from global to shared memory that a warp has under way.
 *
 * What a copy brings is written at the wait that covers it and not before, the latest moment that the hardware
 * may take: a kernel that reads too early sees old contents here.
 */
interface LaneCopies {
  /** Begun since the last commit. */
  open: (() => void)[];
  /** Committed groups, oldest first. */
  groups: (() => void)[][];
}

export class AsyncCopies {
  readonly #lanes = new Map<number, LaneCopies>();

  begin(lane: number, finish: () => void): void {
    this.#of(lane).open.push(finish);
  }

  commit(lane: number): void {
    const copies = this.#of(lane);
    copies.groups.push(copies.open);
    copies.open = [];
  }

  /** Finishes all groups but the youngest `pending`. */
  wait(lane: number, pending: number): void {
    const { groups } = this.#of(lane);
    for (const group of groups.splice(0, Math.max(0, groups.length - pending))) {
      for (const finish of group) finish();
    }
  }

  /** True where a lane has begun a copy that no wait has covered. */
  get unfinished(): boolean {
    return [...this.#lanes.values()].some(
      ({ open, groups }) => open.length > 0 || groups.some((group) => group.length > 0),
    );
  }

  #of(lane: number): LaneCopies {
    let copies = this.#lanes.get(lane);
    if (copies === undefined) {
      copies = { open: [], groups: [] };
      this.#lanes.set(lane, copies);
    }
    return copies;
  }
}
