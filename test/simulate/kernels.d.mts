/** What tests use of the hand-written kernels. */
import type { Sample } from "./harness.ts";

export function allKernels(): Sample[];
export function asyncStores(): Sample;
export function blockSum(): Sample;
export function bulkRing(tiles?: number, stages?: number): Sample;
export function bulkRoundTrip(rounds?: number): Sample;
export function copyPipeline(tiles?: number): Sample;
export function gemmRing(tiles?: number, stages?: number): Sample;
export function lastBlock(blocks?: number): Sample;
export function multicastRing(tiles?: number, stages?: number): Sample;
export function namedBarriers(rounds?: number): Sample;
export function remoteStores(): Sample;
export function wgmmaTile(options?: object): Sample;

/** The first lines of a module. */
export function header(target?: string): string;
/** Bits of the nearest bf16. */
export function bf16(x: number): number;
