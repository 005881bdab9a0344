/** `ld.global.nc` reads through a cache that sees no writes of the same launch (PTX ISA 9.7.9.9). */
import type { Site } from "../compile/site.ts";
import { addFinding, lanesText, sideOfRecord, sideOfSite, warpName } from "./findings.ts";
import type { Region } from "./region.ts";
import type { Warp } from "./warp.ts";

export function checkNonCoherent(
  w: Warp,
  site: Site,
  lane: number,
  region: Region,
  offset: number,
  bytes: number,
): void {
  const { machine } = w;
  const { shadow } = region;
  if (shadow === undefined || !machine.options.memoryChecks) return;
  for (let word = offset >> 2; word << 2 < offset + bytes; word++) {
    const write = shadow.write[word]!;
    const id = write >>> 5;
    if (id < machine.journal.first) continue;
    const number = (w.block.grid.number << 16) | site.id;
    addFinding(machine, {
      code: "race",
      message: () =>
        `ld.global.nc reads bytes that this launch writes: ${region.name} at byte ${word * 4 - region.low}`,
      site: number,
      at: () => sideOfSite(machine, number, `${warpName(w)} ${lanesText(1 << lane)}`),
      otherSite: machine.journal.site[id]!,
      other: () => sideOfRecord(machine, id, write & 31),
    });
    return;
  }
}
