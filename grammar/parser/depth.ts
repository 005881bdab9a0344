/** How deep a tree is, found without recursion: it is asked of trees too deep for one. */

export function deeperThan(root: object, limit: number): boolean {
  const open: { readonly node: object; readonly depth: number }[] = [{ node: root, depth: 1 }];
  for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
    if (entry.depth > limit) return true;
    for (const child of Object.values(entry.node) as unknown[]) {
      if (typeof child !== "object" || child === null) continue;
      // A list is not a level of its own.
      const depth = Array.isArray(child) ? entry.depth : entry.depth + 1;
      open.push({ node: child, depth });
    }
  }
  return false;
}
