/** Every instruction of the table as ptxas reads it: each in a kernel of its own, its operands of the types it says. */
import { describe, expect, test } from "vitest";
import {
  instructions,
  isPtx,
  type OperandType,
  type PtxInstruction,
} from "../../compiler/kernel/instructions.ts";
import { assemble, hasPtxas, needing } from "../targets/ptx/tools.ts";

const registers: Readonly<Partial<Record<OperandType, string>>> = {
  f32: "f32",
  h2: "b32",
  b8x4: "b32",
  i32: "b32",
  u32: "b32",
  i64: "b64",
  bool: "pred",
};

/** A kernel of one instruction: registers begin as 16, predicates as true. */
function kernelOf(record: PtxInstruction, k: number): string {
  const declared: string[] = [];
  const register = (type: OperandType, name: string): string => {
    const kind = registers[type] ?? "";
    const start =
      kind === "pred"
        ? `setp.eq.u32 ${name}, 0, 0`
        : `mov.${kind} ${name}, ${kind === "f32" ? "0f00000000" : 16}`;
    declared.push(`.reg .${kind} ${name}; ${start};`);
    return name;
  };
  const dst = record.results.map((type, i) => register(type, `d${i}`));
  const operands = record.operands.map((type, i) => {
    if (type === "shared") return `[tile+${128 * i}]`;
    if (type === "global") return "[there]";
    return type === "map" ? "there" : register(type, `o${i}`);
  });
  const text = record.ptx(dst, operands);
  return [
    `.visible .entry k${k}(.param .align 64 .b8 map[128]) .maxntid 128 {  // ${record.name}`,
    ".shared .align 1024 .b8 array[4096];",
    ".reg .b64 there; .reg .b32 tile;",
    "mov.b64 there, map; cvta.param.u64 there, there; mov.u32 tile, array;",
    ...declared,
    text.startsWith("{") ? text : `${text};`,
    "ret; }",
  ].join("\n");
}

describe("ptxas assembles", () => {
  const kinds = new Map<string, PtxInstruction[]>();
  for (const record of [...instructions.values()].filter(isPtx)) {
    const kind = record.name.split(".")[0] ?? "";
    kinds.set(kind, [...(kinds.get(kind) ?? []), record]);
  }
  for (const [kind, records] of kinds) {
    test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, kind), { timeout: 120_000 }, () => {
      const isa = records.reduce(
        ([major, minor], { needs }) =>
          needs.isa[0] * 100 + needs.isa[1] > major * 100 + minor ? needs.isa : ([major, minor] as const),
        [8, 0] as readonly [number, number],
      );
      const head = `.version ${isa.join(".")}\n.target sm_90a\n.address_size 64\n`;
      const { complaints, entries } = assemble(head + records.map(kernelOf).join("\n"), "sm_90a");
      // What a lone product leaves undone slows it and is no error.
      expect(complaints.filter((line) => !/\(C75\d\d\)/.test(line))).toEqual([]);
      expect(entries).toBe(records.length);
    });
  }
});
