/**
 * Barriers in shared memory that count arrivals and bytes (PTX ISA 9.7.13.15, "mbarrier"), and the fences that
 * asynchronous instructions need.
 *
 * An mbarrier is one i64 element. Its phases alternate in parity, the first being 0; a phase is complete when all
 * its arrivals and all its bytes have come. `mbarrier.wait` of a parity goes on while the phase under way has the
 * other one, so that a wait for parity 1 of a new barrier does not wait.
 */
import type { Operand } from "../ir.ts";
import { isAddress, isMap } from "../walk.ts";
import type { Instruction, PtxInstruction } from "./instruction.ts";

const needs: PtxInstruction["needs"] = { sm: 90, isa: [8, 0] };
const common = {
  needs,
  results: [],
  destinations: "defined",
  scope: "thread",
  align: 8,
  precondition: "the element is an mbarrier that was made",
} as const;

/** Of the place of an mbarrier. */
export function checkMbarrier(operand: Operand | undefined): string | undefined {
  if (operand === undefined || isMap(operand) || !isAddress(operand)) return undefined;
  return operand.buffer.dtype === "i64" ? undefined : `an mbarrier is no ${operand.buffer.dtype}`;
}

export const mbarrierInstructions: readonly Instruction[] = [
  {
    ...common,
    name: "mbarrier.init",
    section: "9.7.13.15.9",
    operands: ["shared", "i32"],
    precondition: "the count is positive",
    check: ([place]) => checkMbarrier(place),
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.init(0, lane, warp.operand(1, lane));
    },
    ptx: (_, [place = "", count = ""]) => `mbarrier.init.shared::cta.b64 ${place}, ${count}`,
  },
  {
    ...common,
    name: "mbarrier.arrive",
    section: "9.7.13.15.13",
    operands: ["shared"],
    check: ([place]) => checkMbarrier(place),
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.arrive(0, lane, 0);
    },
    ptx: (_, [place = ""]) => `mbarrier.arrive.shared::cta.b64 _, ${place}`,
  },
  {
    ...common,
    name: "mbarrier.arrive.cluster",
    section: "9.7.13.15.13",
    operands: ["shared", "i32"],
    precondition: "the element is an mbarrier in the block of that rank in the cluster",
    check: ([place]) => checkMbarrier(place),
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.arriveAt(0, lane, warp.operand(1, lane));
    },
    // Without a scope: `.release.cluster` has the whole device's memory wait.
    ptx: (_, [place = "", rank = ""]) => {
      const [address = "", offset = "0"] = place.replace(/[[\]]/g, "").split("+");
      return `{ .reg .b32 there; add.s32 there, ${address}, ${offset}; mapa.shared::cluster.u32 there, there, ${rank}; mbarrier.arrive.shared::cluster.b64 _, [there]; }`;
    },
  },
  {
    ...common,
    name: "mbarrier.expect",
    section: "9.7.13.15.13",
    operands: ["shared", "i32"],
    check: ([place]) => checkMbarrier(place),
    evaluate: (warp) => {
      for (const lane of warp.active) warp.engines.arrive(0, lane, warp.operand(1, lane));
    },
    ptx: (_, [place = "", bytes = ""]) => `mbarrier.arrive.expect_tx.shared::cta.b64 _, ${place}, ${bytes}`,
  },
  {
    ...common,
    name: "mbarrier.wait",
    section: "9.7.13.15.16",
    operands: ["shared", "i32"],
    precondition: "the parity is 0 or 1",
    check: ([place]) => checkMbarrier(place),
    isReady: (warp, lane) => warp.engines.isComplete(0, lane, warp.operand(1, lane)),
    evaluate: () => undefined,
    ptx: (_, [place = "", parity = ""]) =>
      `{ .reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, ${place}, ${parity}; @!done bra again; }`,
  },
  fence("fence.mbarrier_init", "fence.mbarrier_init.release.cluster"),
  fence("fence.proxy.async", "fence.proxy.async.shared::cta"),
];

/** What was written before is seen by asynchronous instructions; the interpreter's always see it. */
function fence(name: string, ptx: string): Instruction {
  return {
    ...common,
    name,
    section: "9.7.13.4",
    operands: [],
    align: 1,
    precondition: "none",
    evaluate: () => undefined,
    ptx: () => ptx,
  };
}
