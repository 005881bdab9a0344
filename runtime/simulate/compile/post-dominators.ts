/** Immediate post-dominators (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", on the reversed graph). */

/** For each node the node where all its paths to an exit meet first; -1 for none but the exit itself. */
export function postDominators(successors: readonly (readonly number[])[]): Int32Array {
  const n = successors.length;
  const exit = n;
  const predecessors: number[][] = Array.from({ length: n + 1 }, () => []);
  successors.forEach((list, from) => {
    for (const to of list) predecessors[to]!.push(from);
    if (list.length === 0) predecessors[exit]!.push(from);
  });
  // Postorder of a walk from the exit along predecessors; what never reaches an exit is not in it.
  const order: number[] = [];
  const number = new Int32Array(n + 1).fill(-1);
  const seen = new Uint8Array(n + 1);
  const stack: [number, number][] = [[exit, 0]];
  seen[exit] = 1;
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    const next = predecessors[top[0]]![top[1]++];
    if (next === undefined) {
      number[top[0]] = order.length;
      order.push(top[0]);
      stack.pop();
    } else if (seen[next] === 0) {
      seen[next] = 1;
      stack.push([next, 0]);
    }
  }
  const idom = new Int32Array(n + 1).fill(-1);
  idom[exit] = exit;
  for (let changed = true; changed;) {
    changed = false;
    for (let i = order.length - 2; i >= 0; i--) {
      const node = order[i]!;
      const exits = successors[node]!.length === 0 ? [exit] : successors[node]!;
      let best = -1;
      for (const next of exits) {
        if (idom[next] === -1) continue;
        best = best === -1 ? next : meet(idom, number, best, next);
      }
      if (best !== idom[node]) {
        idom[node] = best;
        changed = true;
      }
    }
  }
  return idom.subarray(0, n).map((node) => (node === exit ? -1 : node));
}

function meet(idom: Int32Array, number: Int32Array, a: number, b: number): number {
  let x = a;
  let y = b;
  while (x !== y) {
    while (number[x]! < number[y]!) x = idom[x]!;
    while (number[y]! < number[x]!) y = idom[y]!;
  }
  return x;
}
