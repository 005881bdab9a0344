/**
 * The hardware instructions that an `instruction` op names: one record each, in `instructions/`.
 * A target's caps list the names that it has.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { clusterInstructions } from "./instructions/cluster.ts";
import { cpAsyncInstructions } from "./instructions/cp-async.ts";
import { dependentInstructions } from "./instructions/dependents.ts";
import { flagInstructions } from "./instructions/flags.ts";
import { isPtx, type Instruction, type PtxInstruction } from "./instructions/instruction.ts";
import { ldmatrixInstructions } from "./instructions/ldmatrix.ts";
import { mbarrierInstructions } from "./instructions/mbarrier.ts";
import { mmaInstructions } from "./instructions/mma.ts";
import { packConvertInstructions } from "./instructions/pack-convert.ts";
import { setmaxnregInstructions } from "./instructions/setmaxnreg.ts";
import { subgroupMatrixInstructions } from "./instructions/subgroup-matrix.ts";
import { tensorCopyInstructions } from "./instructions/tensor-copies.ts";
import { wgmmaInstructions } from "./instructions/wgmma.ts";

export { AsyncCopies } from "./instructions/async-copies.ts";
export type { BoxCopy, DescribedTile, Engines, Product } from "./instructions/engines.ts";
export { isPtx } from "./instructions/instruction.ts";
export type {
  Fragments,
  Instruction,
  MatrixPointer,
  Memory,
  OperandType,
  Pointer,
  PtxInstruction,
  Warp,
  WgslOperand,
} from "./instructions/instruction.ts";

export const instructions: ReadonlyMap<string, Instruction> = new Map(
  [
    ...mmaInstructions,
    ...ldmatrixInstructions,
    ...cpAsyncInstructions,
    ...mbarrierInstructions,
    ...tensorCopyInstructions,
    ...wgmmaInstructions,
    ...packConvertInstructions,
    ...setmaxnregInstructions,
    ...flagInstructions,
    ...subgroupMatrixInstructions,
    ...clusterInstructions,
    ...dependentInstructions,
  ].map((record) => [record.name, record]),
);

export function instructionOf(name: string): Instruction {
  const found = instructions.get(name);
  invariant(found !== undefined, `no instruction ${name}`);
  return found;
}

export function ptxInstructionOf(name: string): PtxInstruction {
  const found = instructionOf(name);
  invariant(isPtx(found), `PTX has no ${name}`);
  return found;
}

export function isInstruction(name: string): boolean {
  return instructions.has(name);
}
