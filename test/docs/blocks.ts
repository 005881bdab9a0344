/** The fenced blocks of a page. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const root: string = resolve(import.meta.dirname, "../..");

export interface Block {
  /** What follows the three backticks: `dsl`, then words of our own. */
  readonly words: readonly string[];
  readonly text: string;
  /** Line of the page where the text begins. */
  readonly line: number;
}

export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```(\S[^\n]*)\n(.*?)^```$/gms)].map((match) => ({
    words: (match[1] ?? "").split(" "),
    text: match[2] ?? "",
    line: text.slice(0, match.index).split("\n").length + 1,
  }));
}
