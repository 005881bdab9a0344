/** The whole instruction table, written from the PTX ISA manual and from nothing of the compiler. */
import { atomicRows } from "./atomic.ts";
import { barrierRows } from "./barrier.ts";
import { bulkRows } from "./bulk.ts";
import { clusterRows } from "./cluster.ts";
import { compareRows } from "./compare.ts";
import { controlRows, flowRows } from "./control.ts";
import { convertRows } from "./convert.ts";
import { copyAsyncRows } from "./copy-async.ts";
import { floatRows } from "./float.ts";
import { integerRows } from "./integer.ts";
import { makeTable, type Table } from "./match.ts";
import { matrixRows } from "./matrix.ts";
import { mbarrierRows } from "./mbarrier.ts";
import { memoryRows } from "./memory.ts";
import { mmaRows } from "./mma.ts";
import { moveRows } from "./move.ts";
import type { Row } from "./row.ts";
import { storeAsyncRows } from "./store-async.ts";
import { tensorRows } from "./tensor.ts";
import { warpRows } from "./warp.ts";
import { wgmmaRows } from "./wgmma.ts";

export const rows: readonly Row[] = [
  ...integerRows,
  ...floatRows,
  ...convertRows,
  ...compareRows,
  ...moveRows,
  ...memoryRows,
  ...atomicRows,
  ...warpRows,
  ...barrierRows,
  ...mmaRows,
  ...matrixRows,
  ...copyAsyncRows,
  ...mbarrierRows,
  ...bulkRows,
  ...tensorRows,
  ...storeAsyncRows,
  ...clusterRows,
  ...wgmmaRows,
  ...controlRows,
  ...flowRows,
];

export const table: Table = makeTable(rows);
