export interface Case {
  readonly group:
    | "gemm"
    | "e4m3"
    | "odd"
    | "attention"
    | "masks"
    | "decode"
    | "throughput"
    | "accuracy"
    | "rowwise"
    | "webgpu";
  readonly name: string;
  /** File in `programs/`. */
  readonly program: string;
  readonly entry: string;
  readonly dims: Readonly<Record<string, number>>;
  /** What it is compiled for, where that is not the choice of who builds. */
  readonly target?: string;
  /** Of caches: whether sequences differ in their lengths. */
  readonly varied?: boolean;
  /** Of caches that fill a memory: whose layers, how many tokens a sequence has, and bytes of one over all layers. */
  readonly budget?: {
    readonly model: string;
    readonly layers: number;
    readonly context: number;
    readonly tokenBytes: number;
    readonly bytes: number;
  };
}
export const cases: readonly Case[];
