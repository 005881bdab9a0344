/** Where a command's words go: results to `out`, everything about them to `note`, progress to a terminal alone. */

export interface Terminal {
  /** Results: what a pipe wants. */
  out(text: string): void;
  /** Diagnostics and remarks, on the error stream. */
  note(text: string): void;
  /** One line that the next replaces; shown on a terminal only. An empty text takes it away. */
  progress(text: string): void;
  /** Whether `note` may be coloured, and `out`. */
  readonly noteColor: boolean;
  readonly outColor: boolean;
  readonly cwd: string;
}

interface Stream {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export function terminalOf(
  streams: { readonly out: Stream; readonly err: Stream },
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): Terminal {
  const isShown = streams.err.isTTY === true && env["CI"] === undefined;
  let hasProgress = false;
  const clear = (): void => {
    if (hasProgress) streams.err.write("\r\u001b[K");
    hasProgress = false;
  };
  return {
    out(text: string): void {
      clear();
      streams.out.write(withLineEnd(text));
    },
    note(text: string): void {
      clear();
      streams.err.write(withLineEnd(text));
    },
    progress(text: string): void {
      if (!isShown) return;
      clear();
      if (text !== "") streams.err.write(text);
      hasProgress = text !== "";
    },
    noteColor: wantsColor(streams.err, env),
    outColor: wantsColor(streams.out, env),
    cwd,
  };
}

/** https://no-color.org and https://force-color.org: any non-empty value counts. */
function wantsColor(stream: Stream, env: Readonly<Record<string, string | undefined>>): boolean {
  if ((env["NO_COLOR"] ?? "") !== "") return false;
  if ((env["FORCE_COLOR"] ?? "") !== "" && env["FORCE_COLOR"] !== "0") return true;
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

function withLineEnd(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
