/** The device function that an instruction is called by: `mma.m16n8k16.bf16` is `mma_m16n8k16_bf16`. */
export function instructionFunction(name: string): string {
  return name.split(".").join("_");
}
