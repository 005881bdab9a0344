/** What one file may hold. Far beyond what anyone writes, so that a hostile file costs little. */
export const limits = {
  /** UTF-16 units in a file. */
  file: 1024 * 1024,
  /** UTF-16 units in a line. */
  line: 64 * 1024,
  tokens: 400_000,
  /** Brackets, `for` and `if` inside one another. */
  nesting: 256,
  /** Depth of one expression's tree, which a long chain of operators makes too. */
  chain: 1000,
} as const;
