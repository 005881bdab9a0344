/** What one file may hold. Far beyond what anyone writes, so that a hostile file costs little. */
export const limits = {
  /** UTF-16 units in a file. */
  file: 1_048_576,
  /** UTF-16 units in a line. */
  line: 65_536,
  tokens: 400_000,
  /** Brackets, `for` and `if` inside one another. */
  nesting: 256,
  /** Depth of one expression's tree, which a long chain of operators makes too. */
  chain: 1000,
} as const;
