// What the benchmarks run: a program, its sizes, and the group whose PyTorch script times the same work beside it.

/** M, N, K of products that models do, at 4,096 tokens and at 128, and one large cube. */
const products = [
  [8192, 8192, 8192],
  [4096, 2112, 7168],
  [4096, 24576, 1536],
  [4096, 32768, 512],
  [4096, 7168, 16384],
  [4096, 4096, 7168],
  [4096, 7168, 2048],
  [128, 7168, 16384],
  [128, 4096, 7168],
];

const cube = [4096, 4096, 4096];

/** M, N, K of weights' gradients: K counts tokens. */
const gradients = [8192, 4096, 2048].flatMap((tokens) => [
  [4096, 7168, tokens],
  [7168, 2048, tokens],
]);

/** Rows of all experts, N, K; and of as many rows on average as `masked` has. */
const contiguous = [
  [35456, 6144, 7168],
  [36096, 7168, 3072],
  [31104, 4096, 4096],
  [32896, 4096, 2048],
];
const masked = [
  [256, 6144, 7168],
  [256, 7168, 3072],
  [256, 4096, 4096],
  [256, 4096, 2048],
  [4096, 4096, 2048],
];

/** Sizes that no tile divides; where K or N is no multiple of 8, rows are not aligned to 16 bytes. */
const oddRows = [1, 17, 333, 1000];
const oddWeights = [
  [1000, 1000],
  [4104, 4104],
  [7167, 7167],
  [4104, 7167],
  [7167, 4104],
];

/** B, H, S, D, Dv. */
const heads = [
  [2, 128, 4096, 128, 128],
  [4, 16, 8192, 128, 128],
  [1, 128, 4096, 192, 128],
  [1, 128, 16384, 192, 128],
];

/** B, S, T, H of multi-head latent attention, and whether lengths vary. */
const latent = [
  [128, 1, 4096, 128],
  [128, 1, 65536, 128, true],
  [128, 2, 4096, 128],
  [128, 2, 8192, 128],
  [128, 1, 16384, 64],
  [128, 1, 16384, 32],
  [128, 1, 16384, 16],
  [128, 1, 4096, 16],
  [1, 1, 131072, 128],
  [1, 1, 8192, 128],
];

const gemm = (group, entry, [M, N, K]) => ({
  group,
  name: `${entry}-${M}x${N}x${K}`,
  program: "gemm.dsl",
  entry,
  dims: { M, N, K },
});
/** Through WebGPU: what it is compiled for stands in the name. */
const throughWebGpu = (entry, shape, target) => {
  const one = gemm("webgpu", entry, shape);
  return { ...one, name: `${one.name}-${target.replace(":", "-")}`, target };
};
const grouped = (entry, E, rows, [size, N, K]) => ({
  group: "grouped",
  name: `${entry}-${E}x${size}x${N}x${K}`,
  program: "grouped.dsl",
  entry,
  dims: { E, ...(rows === "T" ? { T: size } : { B: size / 128 }), N, K },
});
const attention = (group, entry, [B, H, S, D, Dv]) => ({
  group,
  name: `${entry}-${B}x${H}x${S}x${D}x${Dv}`,
  program: "attention.dsl",
  entry,
  dims: { B, H, S, T: S, D, Dv },
});
const rows = (entry, N, D) => ({
  group: "rowwise",
  name: `${entry}-${N}x${D}`,
  program: "rowwise.dsl",
  entry: entry === "copied" ? entry : `${entry}_rows`,
  dims: { N, D },
});

const decode = ([B, S, T, H, varied = false], entry = "latent") => ({
  group: "decode",
  name: `${entry}-${B}x${S}x${T}x${H}${varied ? "-varied" : ""}`,
  program: "decode.dsl",
  entry,
  dims: { B, S, T, H, Ck: 512, Dr: 64 },
  varied,
});

/** Bytes of memory for caches, and how many tokens each sequence has. */
const cacheBudget = 64 * 2 ** 30;
const contexts = [4096, 16384, 65536];

/**
 * Attention of one layer over as many sequences as fill the budget, were all layers there: DeepSeek 67B's grouped
 * heads, and DeepSeek-V2's latent.
 */
const filled = (context) =>
  [
    { model: "67B", layers: 95, entry: "grouped", sizes: { G: 8, R: 8, D: 128 }, row: 2 * 8 * 128 },
    { model: "V2", layers: 60, entry: "latent", sizes: { H: 128, Ck: 512, Dr: 64 }, row: 512 + 64 },
  ].map(({ model, layers, entry, sizes, row }) => {
    const tokenBytes = layers * row * 2;
    return {
      group: "throughput",
      name: `budget-${model}-${context}`,
      program: "decode.dsl",
      entry,
      dims: { B: Math.floor(cacheBudget / (tokenBytes * context)), S: 1, T: context, ...sizes },
      budget: { model, layers, context, tokenBytes, bytes: cacheBudget },
    };
  });

export const cases = [
  ...products.flatMap((shape) => [gemm("gemm", "rows", shape), gemm("gemm", "columns", shape)]),
  ...["rows_e4m3", "promoted_e4m3", "scaled_e4m3"].flatMap((entry) =>
    products.map((shape) => gemm("e4m3", entry, shape)),
  ),
  ...gradients.flatMap((shape) => [
    gemm("gradient", "gradient_e4m3", shape),
    // What the gradient is measured by, where it is not among the products.
    ...(products.some((other) => `${other}` === `${shape}`)
      ? []
      : [gemm("gradient-peer", "scaled_e4m3", shape)]),
  ]),
  ...contiguous.flatMap((shape) => [
    grouped("contiguous", 4, "B", shape),
    grouped("contiguous_bf16", 4, "B", shape),
  ]),
  ...masked.map((shape) => grouped("masked", 32, "T", shape)),
  grouped("gradients", 4, "B", [32768, 4096, 7168]),
  grouped("gradients_bf16", 4, "B", [32768, 4096, 7168]),
  ...oddRows.flatMap((M) =>
    oddWeights.flatMap(([N, K]) => [gemm("odd", "rows", [M, N, K]), gemm("odd", "columns", [M, N, K])]),
  ),
  ...heads.flatMap((shape) => [
    attention("attention", "causal", shape),
    attention("attention", "full", shape),
  ]),
  ...["sliding", "document", "capped"].map((entry) => attention("masks", entry, heads[1])),
  ...latent.map((shape) => decode(shape)),
  ...[16, 64].map((H) => decode([128, 1, 16384, H], "coded")),
  {
    group: "decode",
    name: "grouped-64x1x8192x8x8",
    program: "decode.dsl",
    entry: "grouped",
    dims: { B: 64, S: 1, T: 8192, G: 8, R: 8, D: 128 },
  },
  ...contexts.flatMap(filled),
  ...[
    [512, 512, 4096],
    [4096, 2112, 7168],
  ].map((shape) => ({ ...gemm("accuracy", "scaled", shape), program: "accuracy.dsl" })),
  throughWebGpu("rows_f16", cube, "wgsl:matrices"),
  throughWebGpu("columns_f16", cube, "wgsl:matrices"),
  throughWebGpu("rows_f16", cube, "wgsl"),
  throughWebGpu("rows", cube, "wgsl:matrices"),
  throughWebGpu("rows", cube, "wgsl"),
  throughWebGpu("rows_f32", cube, "wgsl:matrices"),
  throughWebGpu("rows_f32", cube, "wgsl"),
  rows("copied", 16384, 7168),
  rows("rmsnorm", 16384, 7168),
  rows("softmax", 16384, 7168),
  rows("swiglu", 16384, 7168),
  rows("cross_entropy", 4096, 129280),
  rows("quantised", 16384, 7168),
  rows("rmsnorm_quantised", 16384, 7168),
  rows("swiglu_quantised", 16384, 7168),
];
