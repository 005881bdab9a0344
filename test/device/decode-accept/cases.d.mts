export interface Case {
  readonly name: string;
  readonly entry: string;
  readonly A: "bf16" | "f16";
  readonly dims: Readonly<Record<string, number>>;
}
export const cases: readonly Case[];
