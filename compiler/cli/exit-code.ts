/** How `weft` ends. */
export const exitCode = {
  ok: 0,
  /** Diagnostics with an error in them, or an input, a file or a device that refuses. */
  failed: 1,
  /** A command line that is no command. */
  usage: 2,
  /** A mistake of the compiler's own. */
  internal: 3,
  /** `run --compare` found a result outside its bound. */
  mismatch: 4,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** Ends a command with a message for its user and no stack. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: ExitCode;

  constructor(code: ExitCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function usageError(message: string): CommandError {
  return new CommandError(exitCode.usage, message);
}
