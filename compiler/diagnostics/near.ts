/** Names that a reader may have meant: by edit distance, with neighbouring letters exchanged counted once. */

const maxNames = 2000;

/** Up to three names near to `name`, nearest first, in the order given where equally near. */
export function nearNames(name: string, known: Iterable<string>): readonly string[] {
  const limit = name.length <= 2 ? 1 : name.length <= 5 ? 2 : 3;
  const found: { text: string; distance: number }[] = [];
  const seen = new Set<string>();
  for (const text of known) {
    if (seen.size >= maxNames) break;
    if (seen.has(text)) continue;
    seen.add(text);
    if (text === name || Math.abs(text.length - name.length) > limit) continue;
    const distance = text.toLowerCase() === name.toLowerCase() ? 0.5 : editDistance(name, text, limit);
    // A name of which nothing is left is not near.
    if (distance <= limit && distance < Math.max(name.length, 2)) found.push({ text, distance });
  }
  found.sort((a, b) => a.distance - b.distance);
  const best = found[0]?.distance ?? 0;
  return found
    .filter(({ distance }) => distance <= best + 1)
    .slice(0, 3)
    .map(({ text }) => text);
}

/** `did you mean 'x'?`, or undefined. */
export function didYouMean(name: string, known: Iterable<string>): string | undefined {
  const near = nearNames(name, known).map((text) => `'${text}'`);
  if (near.length === 0) return undefined;
  return `did you mean ${near.length === 1 ? near[0] : `${near.slice(0, -1).join(", ")} or ${near.at(-1)}`}?`;
}

/** What has to change for `a` to become `b`, or a number above `limit`: what begins and ends alike is not looked at. */
function editDistance(a: string, b: string, limit: number): number {
  let start = 0;
  let [endA, endB] = [a.length, b.length];
  while (start < endA && start < endB && a[start] === b[start]) start += 1;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) [endA, endB] = [endA - 1, endB - 1];
  return editDistanceWithin(a.slice(start, endA), b.slice(start, endB), limit);
}

function editDistanceWithin(a: string, b: string, limit: number): number {
  let before: number[] = [];
  let row: number[] = [];
  for (let j = 0; j <= b.length; j += 1) row.push(j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    let best = i;
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, (before[j - 2] ?? 0) + 1);
      next.push(least);
      if (least < best) best = least;
    }
    // An exchange costs one and looks back at a row whose best is at most one lower: no later row has a lower best.
    if (best > limit) return best;
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
