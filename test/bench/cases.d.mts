export interface Case {
  readonly group: "gemm" | "e4m3" | "odd" | "attention" | "masks" | "decode" | "rowwise" | "webgpu";
  readonly name: string;
  /** File in `programs/`. */
  readonly program: string;
  readonly entry: string;
  readonly dims: Readonly<Record<string, number>>;
  /** What it is compiled for, where that is not the choice of who builds. */
  readonly target?: string;
  /** Of caches: whether sequences differ in their lengths. */
  readonly varied?: boolean;
}
export const cases: readonly Case[];
