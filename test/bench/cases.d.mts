export interface Case {
  readonly group: "gemm" | "e4m3" | "odd" | "attention" | "masks" | "rowwise";
  readonly name: string;
  /** File in `programs/`. */
  readonly program: string;
  readonly entry: string;
  readonly dims: Readonly<Record<string, number>>;
}
export const cases: readonly Case[];
