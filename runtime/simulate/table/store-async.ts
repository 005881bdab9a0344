/** Asynchronous stores and reductions to the shared memory of a cluster: `st.async`, `red.async` (PTX ISA 9.7.9.12, 9.7.13.9). */
import { SimulateError } from "../finding.ts";
import { typeBytes } from "../parse/syntax.ts";
import type { Site } from "../compile/site.ts";
import { bindWords, storeElement } from "../machine/access.ts";
import { bindAddress } from "../machine/address.ts";
import { issueLanding } from "../machine/bulk.ts";
import { blockOf } from "../machine/remote.ts";
import { readElement, updateOf, writeElement } from "./atomic.ts";
import { copyBarrier, lanesOf, lows, sameBlock, sharedRange } from "./bulk.ts";
import type { Step, WarpRow } from "./row.ts";

function bindStore(site: Site): Step {
  const [to, value, bar] = site.operands;
  const { op, type, vector } = site.choices;
  const bytes = typeBytes(type!);
  const count = vector === undefined ? 1 : Number(vector.slice(1));
  const toOf = bindAddress(site, to);
  const barOf = bindAddress(site, bar);
  const words = bindWords(site, value, bytes);
  if (words.length !== count)
    throw new SimulateError(
      `${site.instruction.text}: ${words.length} values for a vector of ${count}`,
      site.instruction.line,
    );
  const update = op === undefined ? undefined : updateOf(op, type!);
  if (op !== undefined && update === undefined)
    throw new SimulateError(`${site.instruction.text}: there is no ${op} of ${type}`, site.instruction.line);
  const total = bytes * count;
  return (w, mask) => {
    const toLow = lows(w, mask, toOf);
    const barLow = lows(w, mask, barOf);
    for (const l of lanesOf(mask)) {
      const values = words.map((word, e) => word(w, l, e));
      const block = blockOf(w, site, l, toLow[l]!);
      const range = sharedRange(w, site, l, toLow[l]!, total, total);
      const barrier = copyBarrier(w, site, l, sameBlock(w, site, l, block, barLow[l]!), barLow[l]!);
      if (range === undefined || barrier === undefined) continue;
      const move = (): void => {
        values.forEach(([low, high], e) => {
          const at = range.offset + e * bytes;
          if (update === undefined) storeElement(range.region, at, bytes, low, high);
          else
            writeElement(
              range.region,
              at,
              bytes,
              update(
                readElement(range.region, at, bytes),
                BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n),
                0n,
              ),
            );
        });
      };
      issueLanding(w, {
        site,
        lane: l,
        reads: [],
        writes: [range],
        bytes: total,
        barrier,
        move,
        reduces: update !== undefined,
      });
    }
  };
}

const tail = "to?shared::cluster.mbarrier::complete_tx::bytes";

export const storeAsyncRows: readonly WarpRow[] = [
  {
    pattern: `st.async.weak?weak.${tail}.vector?v2|v4.type:b32|b64|u32|u64|s32|s64|f32|f64`,
    section: "9.7.9.12",
    writes: [],
    bind: bindStore,
  },
  {
    pattern: `red.async.sem?relaxed.scope?cluster.${tail}.op:inc|dec|min|max|add|and|or|xor.type:u32|s32|u64|b32`,
    section: "9.7.13.9",
    writes: [],
    bind: bindStore,
  },
];
