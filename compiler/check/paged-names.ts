/** What the tensors of a paged cache are called, beside its `table` and `length`. */

/** The pages of part k of the rows: `pages` where there is one, else `pages0`, `pages1`. */
export function pagesName(k: number, parts: number): string {
  return parts === 1 ? "pages" : `pages${k}`;
}
