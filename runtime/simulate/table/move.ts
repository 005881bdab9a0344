/** Moves that touch no memory: `mov`, `prmt`, address conversion and cluster addresses (PTX ISA 9.7.9). */
import type { LaneRow } from "./row.ts";
import { windows } from "../machine/windows.ts";

const window = (space: string): string =>
  `0x${windows[space === "local" ? "local" : space.startsWith("param") ? "param" : "shared"].toString(16)}00000000n`;
const isFlat = (space: string): boolean => space === "global" || space === "const";

export const moveRows: readonly LaneRow[] = [
  { pattern: "mov.type:pred", section: "9.7.9.3", operands: "d a", is: "a" },
  {
    pattern: "mov.type:b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64",
    section: "9.7.9.3",
    operands: "d:bits a:bits",
    is: "a",
  },
  {
    pattern: "prmt.b32.mode?f4e|b4e|rc8|ecl|ecr|rc16",
    section: "9.7.9.7",
    operands: "d:b32 a:b32 b:b32 c:b32",
    is: (x) => `H.prmt(a, b, c, "${x["mode"] ?? ""}")`,
  },
  {
    // A generic address is the window of the space in the upper word, and the address within it below.
    pattern: "cvta.space:global|shared|shared::cta|shared::cluster|local|const|param|param::entry.u64",
    section: "9.7.9.20",
    operands: "d:u64 a:u64",
    is: ({ space }) => (isFlat(space!) ? "a" : `BigInt.asUintN(32, a) | ${window(space!)}`),
  },
  {
    pattern: "cvta.to.space:global|shared|shared::cta|shared::cluster|local|const|param|param::entry.u64",
    section: "9.7.9.20",
    operands: "d:u64 a:u64",
    is: ({ space }) => (isFlat(space!) ? "a" : "BigInt.asUintN(32, a)"),
  },
  {
    pattern: "isspacep.space:global|shared|shared::cta|shared::cluster|local|const|param|param::entry",
    section: "9.7.9.19",
    operands: "d:pred a:u64",
    is: ({ space }) =>
      isFlat(space!)
        ? "a >= 0x10000000000n"
        : space === "shared" || space === "shared::cta"
          ? `(a >> 24n) === (${window(space)} >> 24n) + BigInt(w.rank)`
          : `(a >> 32n) === (${window(space!)} >> 32n)`,
  },
  // The address of the same variable in block `b` of the cluster: the rank is bits 24 and up of a shared address.
  {
    pattern: "mapa.shared::cluster.type:u32",
    section: "9.7.9.23",
    operands: "d a b:u32",
    is: "(a & 0xffffff) | (b << 24)",
  },
  {
    pattern: "mapa.space?shared::cluster.type:u64",
    section: "9.7.9.23",
    operands: "d a b:u32",
    is: "(a & ~0xff000000n) | (BigInt(b) << 24n)",
  },
  {
    pattern: "getctarank.shared::cluster.type:u32",
    section: "9.7.9.24",
    operands: "d:u32 a",
    is: "a >>> 24",
  },
  {
    pattern: "getctarank.space?shared::cluster.type:u64",
    section: "9.7.9.24",
    operands: "d:u32 a",
    is: "Number((a >> 24n) & 255n)",
  },
];
