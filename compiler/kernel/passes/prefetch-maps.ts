/**
 * A tensor map's descriptor lies in the kernel's parameters, and the copy engine fetches it when a first copy names it.
 * The one thread that sets barriers up, before anybody copies, asks for all of them first.
 */
import type { Kernel, Op } from "../ir.ts";

export function prefetchMaps(kernel: Kernel): Kernel {
  const first = kernel.body.findIndex((op) => op.kind === "if" && op.then.some(isBarrierInit));
  const op = kernel.body[first];
  if (op?.kind !== "if" || kernel.maps.length === 0) return kernel;
  const asked = kernel.maps.map((map): Op => ({
    kind: "instruction",
    name: "tensormap.prefetch",
    dst: [],
    operands: [{ map }],
  }));
  return { ...kernel, body: kernel.body.with(first, { ...op, then: [...asked, ...op.then] }) };
}

function isBarrierInit(op: Op): boolean {
  return op.kind === "instruction" && op.name === "mbarrier.init";
}
