/**
 * Numerics: what a compiled program's sums may lose, worst and probable, its headroom, and whether it gives the same
 * bits again. Pure; the error on data comes from whoever has a device (`weft numerics`). docs/numerics.md explains it.
 */
export { analyze } from "./analyze.ts";
export type { Analysis, AnalyzedOutput, AnalyzedSum, AnalyzedValue, AnalyzeRequest } from "./analyze.ts";
export { orderOfSums } from "./order.ts";
export { numericsSvg } from "./picture.ts";
export { reductionTree } from "./reduction-tree.ts";
export type { ReductionTree } from "./reduction-tree.ts";
export { reportOf } from "./report.ts";
export type { MeasuredValues, NumericsReport, OutputReport } from "./report.ts";
export { batchDims, batchReport, runsReport, triedSizes } from "./reproducible.ts";
export type { BatchReport, Reproducibility } from "./reproducible.ts";
