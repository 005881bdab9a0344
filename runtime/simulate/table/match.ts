/** Finds the record of an opcode. */
import { SimulateError } from "../finding.ts";
import type { Choices, Row } from "./row.ts";

interface Part {
  readonly name: string;
  readonly alternatives: ReadonlySet<string>;
  readonly optional: boolean;
}

interface Entry {
  readonly row: Row;
  readonly parts: readonly Part[];
}

export interface Match {
  readonly row: Row;
  readonly choices: Choices;
}

function parsePattern(pattern: string): Part[] {
  return pattern.split(/\.(?![^(]*\))/).map((text) => {
    const choice = /^(\w+)([?]|:(?!:))(.+)$/.exec(text);
    if (choice === null) return { name: "", alternatives: new Set([text]), optional: false };
    const [, name, mark, list] = choice;
    return { name: name!, alternatives: new Set(list!.split("|")), optional: mark === "?" };
  });
}

function matchParts(parts: readonly Part[], opcode: readonly string[]): Choices | undefined {
  const choices: Record<string, string> = {};
  let at = 0;
  for (const part of parts) {
    const word = opcode[at];
    if (word !== undefined && part.alternatives.has(word)) {
      if (part.name !== "") choices[part.name] = word;
      at++;
    } else if (!part.optional) return undefined;
  }
  return at === opcode.length ? choices : undefined;
}

export type Table = ReadonlyMap<string, readonly Entry[]>;

export function makeTable(rows: readonly Row[]): Table {
  const table = new Map<string, Entry[]>();
  for (const row of rows) {
    const parts = parsePattern(row.pattern);
    for (const name of parts[0]!.alternatives) {
      const entries = table.get(name) ?? [];
      entries.push({ row, parts });
      table.set(name, entries);
    }
  }
  return table;
}

/** The record and the choices of an opcode; throws for one that the table lacks. */
export function matchOpcode(table: Table, opcode: readonly string[], line: number): Match {
  const entries = table.get(opcode[0]!) ?? [];
  for (const { row, parts } of entries) {
    const choices = matchParts(parts, opcode);
    if (choices !== undefined) return { row, choices };
  }
  const forms = entries.map((entry) => entry.row.pattern);
  const hint = forms.length === 0 ? "" : `; of ${opcode[0]} I know ${forms.join("  ")}`;
  throw new SimulateError(`I do not know the instruction ${opcode.join(".")}${hint}`, line);
}
