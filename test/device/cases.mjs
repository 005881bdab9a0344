/**
 * The programs that the device tests run: the standard library, the contract, the examples and the language, each at
 * several sizes. Plain JavaScript, so that a machine with nothing but Node and the built package runs them too.
 */

/** Sizes about a tile, and far from one. */
const lengths = [1, 2, 7, 31, 33, 64, 127, 300];
const floats = [{ A: "f32" }, { A: "bf16" }, { A: "f16" }];

/**
 * @typedef {Readonly<Record<string, number>>} Dims
 * @typedef {(shape: readonly number[], dims: Dims) => readonly number[]} Made
 * @typedef {object} Case
 * @property {string} name unique; what a test is called
 * @property {string} file from the repository's root
 * @property {string} entry
 * @property {Dims} bound dims that are bound at compile time whatever the test, since no input tells them
 * @property {readonly Dims[]} sizes the other dims; each set is a run
 * @property {(dims: Dims) => Dims} fit of dims drawn at random, the ones that follow from others
 * @property {readonly Readonly<Record<string, string>>[]} types what the dtype parameters stand for; each is a compilation
 * @property {Readonly<Record<string, readonly [number | string, number | string]>>} ranges integers by input, the second left out
 * @property {Readonly<Record<string, number>>} spread deviation of floats by input, 1 where left out
 * @property {Readonly<Record<string, Made>>} made inputs that are not random
 * @property {readonly string[]} [on] targets that it is for where tests are to be quick; all of them where left out
 * @property {number} unpromised part of the elements, at most, about which the reference may promise nothing
 */

/** @returns {Case} */
function program(file, entry, sizes, more = {}) {
  const { types = [{}], ...rest } = more;
  return {
    name: entry,
    file,
    entry,
    bound: {},
    sizes,
    fit: () => ({}),
    types,
    ranges: {},
    spread: {},
    made: {},
    unpromised: 0,
    ...rest,
  };
}

const library = (entry, sizes, more) => program("test/device/library.dsl", entry, sizes, more);

/** Rows of every length, few where they are long. */
const rows = (N, D) => lengths.map((length, k) => ({ [N]: [1, 3, 5, 2, 4, 1, 3, 2][k] ?? 1, [D]: length }));
const vectors = [{ N: 1 }, { N: 33 }, { N: 257 }];
const tall = [
  { N: 1, D: 1 },
  { N: 5, D: 3 },
  { N: 33, D: 7 },
  { N: 130, D: 4 },
  { N: 300, D: 1 },
];

const positions = (shape) => counting(shape, (at) => at.at(-1) ?? 0);

/** Row-major values of a function of the index. */
function counting(shape, f) {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return Array.from({ length: size }, (_, flat) => {
    const at = [];
    let rest = flat;
    for (const extent of [...shape].reverse()) {
      at.unshift(rest % extent);
      rest = Math.floor(rest / extent);
    }
    return f(at);
  });
}

const products = [
  { N: 1, M: 1, K: 1 },
  { N: 3, M: 5, K: 7 },
  { N: 17, M: 33, K: 15 },
  { N: 63, M: 65, K: 31 },
  { N: 65, M: 20, K: 129 },
];

const attention = [
  { B: 1, S: 1, T: 1, Hkv: 1, G: 1, D: 1, Dv: 1 },
  { B: 2, S: 3, T: 5, Hkv: 1, G: 3, D: 7, Dv: 5 },
  { B: 1, S: 17, T: 33, Hkv: 2, G: 1, D: 16, Dv: 9 },
  { B: 1, S: 5, T: 65, Hkv: 1, G: 2, D: 33, Dv: 32 },
];

const experts = [
  { N: 1, Dm: 1, F: 1, E: 4, G: 2, Kg: 1, K: 1 },
  { N: 7, Dm: 9, F: 5, E: 8, G: 4, Kg: 2, K: 3 },
  { N: 33, Dm: 16, F: 17, E: 8, G: 2, Kg: 2, K: 2 },
];
const expertDims = ["E", "G", "Kg", "K"];

/** One case for each way to bind what no input tells. */
function spreadOver(bound, sizes, make) {
  return sizes.map((size) => {
    const own = Object.fromEntries(bound.map((name) => [name, size[name]]));
    const rest = Object.fromEntries(Object.entries(size).filter(([name]) => !bound.includes(name)));
    const text = Object.entries(own)
      .map(([name, value]) => `${name}=${value}`)
      .join();
    return make(own, rest, text);
  });
}

const latent = [
  { B: 1, S: 1, T: 1, Dm: 1, H: 1, Dn: 1, Dr: 2, Dv: 1, Cq: 1, Ck: 1 },
  { B: 2, S: 5, T: 5, Dm: 9, H: 2, Dn: 5, Dr: 4, Dv: 3, Cq: 7, Ck: 6 },
];
/** Small enough that a chain of products keeps its size. */
const latentSpread = {
  w_dq: 0.4,
  w_uq: 0.4,
  w_dkv: 0.4,
  w_uk: 0.4,
  w_uv: 0.4,
  w_o: 0.4,
  "latent.w_dkv": 0.4,
  "latent.w_ukv": 0.4,
  "latent.w_o": 0.4,
};
/** The first takes the absorbed form, the second expanded keys; with one head, open, rows are as many positions. */
const steps = [
  { B: 2, S: 2, T: 7, Dm: 9, H: 2, Dn: 5, Dr: 4, Dv: 3, Cq: 7, Ck: 6, P: 4 },
  { B: 1, S: 9, T: 9, Dm: 9, H: 2, Dn: 2, Dr: 2, Dv: 2, Cq: 7, Ck: 24, P: 8 },
  { B: 12, S: 5, T: 5, Dm: 1, H: 1, Dn: 3, Dr: 2, Dv: 1, Cq: 1, Ck: 1, P: 1, kv_pages: 60, kv_slots: 5 },
];

const blocks = [
  { B: 1, S: 1, Dm: 2, Hkv: 1, G: 1, Dh: 2, F: 1 },
  { B: 2, S: 5, Dm: 18, Hkv: 2, G: 2, Dh: 6, F: 11 },
  { B: 1, S: 17, Dm: 32, Hkv: 1, G: 3, Dh: 16, F: 40 },
];
const blockSpread = { w_q: 0.2, w_k: 0.2, w_v: 0.2, w_o: 0.2, w_gate: 0.2, w_up: 0.2, w_down: 0.2 };
const inside = (names) =>
  Object.fromEntries(
    names.flatMap((name) => Object.keys(blockSpread).map((key) => [`${name}.${key}`, 0.08])),
  );

const caches = [
  { B: 1, S: 1, T: 1, C: 1, kv_pages: 1, kv_slots: 1 },
  { B: 3, S: 3, T: 9, C: 5, kv_pages: 9, kv_slots: 3 },
];
/** A cache with room for every new row, its pages used up. */
const paged =
  (rows) =>
  ({ B, S, T }) => {
    const slots = Math.ceil(Math.max(S, T) / rows);
    return { T: Math.max(S, T), kv_pages: B * slots, kv_slots: slots };
  };
const cacheInputs = {
  "kv.table": (shape) => counting(shape, ([b, s]) => b * (shape[1] ?? 1) + s),
  "kv.length": (shape, { T, S }) => counting(shape, ([b]) => Math.max(0, T - S - b)),
  pos: (shape, { T, S }) => counting(shape, ([b, s]) => Math.max(0, T - S - b) + s),
};
/** Sequences begin, each with a row less than the one before it. */
const stepInputs = {
  "kv.table": (shape) => counting(shape, ([b, s]) => b * (shape[1] ?? 1) + s),
  "kv.length": (shape) => counting(shape, () => 0),
  pos: (shape) => counting(shape, ([b, s]) => (b > 0 && s + 1 === shape[1] ? -1 : s)),
  count: (shape, { S }) => counting(shape, ([b]) => Math.max(0, S - b)),
};

/** @type {readonly Case[]} */
export const cases = [
  // std.nn, std.rope, std.mask
  library("softened", rows("N", "D"), { types: floats }),
  library("softened_columns", tall, { types: floats }),
  library("softened_kept", [...rows("N", "D"), { N: 64, D: 2 }], { types: floats }),
  library("normalised", rows("N", "D"), { types: floats }),
  library("layered", rows("N", "D").slice(1), { types: floats, unpromised: 0.02 }),
  library("silu_of", rows("N", "D").slice(0, 5), { types: floats, spread: { x: 4 } }),
  library("gelu_of", rows("N", "D").slice(0, 5), { types: floats, spread: { x: 2 } }),
  library("gated", rows("N", "D").slice(0, 5), { types: floats }),
  library("loss", rows("N", "V"), { types: floats, ranges: { target: [-1, "V"] } }),
  library(
    "turned",
    [
      { B: 1, S: 1, H: 1, D: 2 },
      { B: 2, S: 5, H: 3, D: 6 },
      { B: 1, S: 33, H: 1, D: 16 },
    ],
    { types: floats, made: { pos: positions } },
  ),
  library(
    "stretched",
    [
      { B: 1, S: 1, H: 1, D: 2 },
      { B: 2, S: 5, H: 3, D: 10 },
      { B: 1, S: 33, H: 1, D: 16 },
    ],
    { types: floats, made: { pos: positions } },
  ),
  library(
    "masks",
    [
      { B: 1, S: 1, T: 1 },
      { B: 2, S: 5, T: 7 },
      { B: 1, S: 33, T: 65 },
    ],
    {
      ranges: { pos_q: [0, "T"], pos_k: [0, "T"], window: [1, 5], doc_q: [0, 3], doc_k: [0, 3] },
    },
  ),

  // reductions
  library("reduced", rows("N", "D")),
  // The mean of nothing is promised by nobody.
  library("reduced_kept", [...rows("N", "D"), { N: 64, D: 2 }], { unpromised: 0.2 }),
  library("reduced_columns", tall, { types: floats.slice(0, 2) }),
  library("reduced_all", rows("N", "D"), { types: floats }),
  library("counted", rows("N", "D"), { ranges: { x: [-4, 5] } }),
  library(
    "middle",
    [
      { B: 1, S: 1, D: 1 },
      { B: 3, S: 65, D: 5 },
      { B: 2, S: 7, D: 70 },
    ],
    { types: floats },
  ),

  // contractions
  library("multiplied", [...products, { N: 129, M: 127, K: 64 }], { types: floats }),
  library("multiplied_plain", products, { types: floats }),
  library("multiplied_left", products, { types: floats }),
  library(
    "multiplied_batch",
    products.slice(1, 4).map((size) => ({ ...size, B: 2, H: 3 })),
    { types: floats.slice(0, 2) },
  ),
  library(
    "multiplied_vector",
    products.map(({ M, K }) => ({ M, K })),
    { types: floats },
  ),
  library("multiplied_mixed", products, {}),
  library("multiplied_tf32", [...products, { N: 129, M: 127, K: 64 }], { types: floats.slice(0, 2) }),
  library("multiplied_bias", products, { types: floats }),
  library("multiplied_two", [
    { B: 1, S: 1, H: 1, K: 1, M: 1 },
    { B: 2, S: 9, H: 3, K: 5, M: 17 },
    { B: 1, S: 33, H: 2, K: 16, M: 65 },
  ]),

  // along an axis
  library(
    "best",
    [
      { N: 1, D: 2 },
      { N: 5, D: 3 },
      { N: 3, D: 33 },
      { N: 2, D: 130 },
    ],
    { types: floats },
  ),
  library("running", rows("N", "D").slice(0, 6)),
  library(
    "sorted",
    [
      { N: 1, D: 1 },
      { N: 3, D: 5 },
      { N: 2, D: 33 },
      { N: 9, D: 2 },
    ],
    { types: floats },
  ),
  ...spreadOver(
    ["E"],
    [
      { N: 1, E: 1, D: 1 },
      { N: 33, E: 5, D: 3 },
      { N: 7, E: 40, D: 9 },
    ],
    (bound, size, text) =>
      library("scattered", [size], { name: `scattered ${text}`, bound, ranges: { to: [-1, "E"] } }),
  ),

  // reads and views
  library(
    "gathered",
    [
      { V: 1, D: 1, N: 1 },
      { V: 7, D: 5, N: 33 },
      { V: 40, D: 65, N: 3 },
    ],
    { types: floats, ranges: { ids: [-3, 50] } },
  ),
  library(
    "gathered_wide",
    [
      { V: 1, D: 1, N: 1 },
      { V: 7, D: 5, N: 33 },
    ],
    { ranges: { ids: [-3, 50] } },
  ),
  library("shifted", [
    { B: 1, S: 1 },
    { B: 2, S: 2 },
    { B: 3, S: 65 },
  ]),
  library(
    "convolved",
    [
      { B: 1, S: 1, C: 1 },
      { B: 2, S: 3, C: 5 },
      { B: 1, S: 33, C: 33 },
    ],
    { types: floats },
  ),
  ...spreadOver(
    ["D", "E"],
    [
      { N: 1, D: 1, E: 1 },
      { N: 5, D: 3, E: 2 },
      { N: 3, D: 33, E: 64 },
    ],
    (bound, size, text) => library("parted", [size], { name: `parted ${text}`, bound, types: floats }),
  ),
  ...spreadOver(
    ["H", "D"],
    [
      { B: 1, H: 1, D: 1 },
      { B: 2, H: 3, D: 4 },
      { B: 5, H: 2, D: 33 },
    ],
    (bound, size, text) => library("reshaped", [size], { name: `reshaped ${text}`, bound, types: floats }),
  ),
  library(
    "transposed",
    [
      { N: 1, D: 1 },
      { N: 5, D: 3 },
      { N: 33, D: 65 },
    ],
    { types: floats },
  ),
  library("diagonal", [{ N: 1 }, { N: 33 }]),

  // scalars
  library("divided", vectors, {
    ranges: { a: [-20, 21], b: [1, 6] },
    made: { b: (shape) => counting(shape, ([n]) => ((n % 2) * 2 - 1) * (1 + (n % 5))) },
  }),
  library("divided_wide", vectors, {
    made: {
      a: (shape) =>
        counting(shape, ([n]) => (n % 3 === 0 ? -1 : 1) * (n * 1000003 + 17) * (n % 4 === 0 ? 9973 : 1)),
      b: (shape) => counting(shape, ([n]) => ((n % 2) * 2 - 1) * (1 + (n % 5) * (n % 7 === 0 ? 1000003 : 1))),
    },
  }),
  library("unsigned", vectors, {
    made: {
      a: (shape) => counting(shape, ([n]) => (n * 2654435761) % 2 ** 32),
      b: (shape) => counting(shape, ([n]) => (n * 40503) % 70000),
    },
  }),
  library("narrowed", vectors, { spread: { x: 100 } }),
  library("widened", vectors, {
    ranges: {
      i: [-(2 ** 31), 2 ** 31 - 1],
      u: [0, 2 ** 32 - 1],
      c: [-128, 128],
      d: [0, 256],
      l: [-(2 ** 40), 2 ** 40],
    },
  }),
  library("functions", vectors, { spread: { x: 3 } }),
  library("more_functions", vectors, { spread: { x: 2 } }),
  library("flags", vectors, {
    made: {
      x: (shape) => counting(shape, ([n]) => [0, -0, 1, -1, Infinity, -Infinity, Number.NaN][n % 7] ?? 0),
    },
  }),
  library("small", vectors, { ranges: { a: [-128, 128], b: [0, 256] } }),
  library("rounded", vectors, { spread: { x: 10 } }),
  library("scaled", vectors, { ranges: { w: [-3, 9] } }),
  library("broadcast", rows("N", "D").slice(0, 5), { types: floats }),

  // block scales, caches, routing
  library(
    "quantized",
    [
      { N: 1, D: 1 },
      { N: 3, D: 128 },
      { N: 2, D: 200 },
    ],
    { spread: { x: 5 } },
  ),
  library(
    "quantized_rows",
    [
      { N: 1, D: 1, M: 1 },
      { N: 3, D: 128, M: 2 },
      { N: 2, D: 576, M: 3 },
      { N: 3, D: 1024, M: 1 },
    ],
    { spread: { x: 5 }, ranges: { to: [0, "N"] } },
  ),
  library("quantized_squares", [
    { N: 1, D: 1 },
    { N: 3, D: 128 },
    { N: 130, D: 264 },
  ]),
  library(
    "quantized_powers",
    [
      { N: 1, D: 1 },
      { N: 3, D: 6 },
      { N: 5, D: 33 },
    ],
    { spread: { x: 5 } },
  ),
  ...spreadOver(["T"], caches, (bound, size, text) =>
    library("cached", [size], {
      name: `cached ${text}`,
      bound,
      fit: paged(4),
      made: { ...cacheInputs, count: (shape, { S }) => counting(shape, ([b]) => Math.max(0, S - b)) },
    }),
  ),
  ...spreadOver(["T"], caches.slice(1, 3), (bound, size, text) =>
    library("cached_parts", [{ ...size, D: 3 }], {
      name: `cached_parts ${text}`,
      bound,
      fit: paged(4),
      made: { ...cacheInputs, count: (shape, { S }) => counting(shape, ([b]) => Math.max(0, S - b)) },
    }),
  ),
  library(
    "routed",
    [
      { N: 1, D: 1, F: 1, E: 1, K: 1 },
      { N: 5, D: 3, F: 7, E: 3, K: 2 },
      { N: 33, D: 17, F: 9, E: 4, K: 3 },
    ],
    { ranges: { index: [-1, "E"] } },
  ),

  // contract
  program("test/contract/attention.dsl", "attend", attention, { types: floats }),
  program(
    "test/contract/attention.dsl",
    "causal",
    [
      { B: 1, S: 1, T: 1 },
      { B: 2, S: 7, T: 33 },
    ],
    { ranges: { pos_q: [0, 20], pos_k: [0, 20] } },
  ),
  ...spreadOver(expertDims, experts, (bound, size, text) =>
    program("test/contract/moe.dsl", "Moe.route", [size], {
      name: `Moe.route ${text}`,
      bound,
      types: [{ W: "bf16" }],
      spread: { w_gate: 0.3, bias: 0.1 },
    }),
  ),
  ...spreadOver(expertDims, experts, (bound, size, text) =>
    program("test/contract/moe.dsl", "Moe.forward", [size], {
      name: `Moe.forward ${text}`,
      bound,
      types: [{ W: "bf16" }, { W: "f32" }],
      spread: { w_gate: 0.3, bias: 0.1, w_up: 0.3, w_gate_proj: 0.3, w_down: 0.3 },
    }),
  ),
  ...spreadOver(["Dn", "Dr", "Ck"], latent, (bound, { T: _, ...size }, text) =>
    program("test/contract/mla.dsl", "Mla.forward", [size], {
      name: `Mla.forward ${text}`,
      bound,
      types: [{ W: "bf16" }],
      spread: latentSpread,
      made: { pos: positions },
      unpromised: 0.05,
    }),
  ),
  ...spreadOver(["T", "Dn", "Dr", "Ck"], latent, (bound, { Cq, ...size }, text) =>
    program("test/contract/mla.dsl", "Mla.decode", [{ ...size, Cq, kv_pages: 2, kv_slots: 1 }], {
      name: `Mla.decode ${text}`,
      bound,
      fit: paged(64),
      types: [{ W: "bf16" }],
      spread: latentSpread,
      unpromised: 0.05,
      made: { ...cacheInputs, "kv.length": (shape) => counting(shape, () => 0), pos: positions },
    }),
  ),
  ...spreadOver(["Dn", "Dr", "Ck"], latent.slice(1), (bound, { Dm, Cq, ...size }, text) =>
    program("test/contract/mla.dsl", "Mla.attend_absorbed", [size], {
      name: `Mla.attend_absorbed ${text}`,
      bound,
      types: [{ W: "bf16" }, { W: "e4m3@4,4" }],
      spread: latentSpread,
    }),
  ),
  program(
    "test/contract/fp8_linear.dsl",
    "linear_fp8",
    [
      { N: 1, I: 1, O: 1 },
      { N: 5, I: 130, O: 9 },
      { N: 33, I: 256, O: 129 },
    ],
    { made: { "w.scale": (shape) => counting(shape, ([a, b]) => 0.01 * (1 + a + 2 * b)) } },
  ),
  program("test/contract/fp8_linear.dsl", "linear_bf16", [
    { N: 1, I: 1, O: 1 },
    { N: 5, I: 130, O: 9 },
    { N: 33, I: 256, O: 129 },
  ]),

  // examples
  program("examples/attention/attention.dsl", "attend", attention, { name: "example attend", types: floats }),
  program(
    "examples/llama/block.dsl",
    "Block.mlp",
    blocks.map(({ Hkv, G, Dh, ...size }) => size),
    { types: [{ W: "bf16" }], spread: blockSpread },
  ),
  program("examples/llama/block.dsl", "Block.forward", blocks, {
    types: [{ W: "bf16" }, { W: "f32" }],
    spread: blockSpread,
    made: { pos: positions },
    unpromised: 0.05,
  }),
  // Over two blocks of seventeen positions the bound grows past what it could promise.
  program(
    "examples/tiny-lm/model.dsl",
    "Model.forward",
    blocks.slice(0, 2).map((size) => ({ ...size, V: 29 })),
    {
      types: [{ W: "bf16" }],
      spread: inside(["first", "second"]),
      made: { pos: positions },
      ranges: { ids: [0, "V"] },
      unpromised: 0.05,
    },
  ),
  program("examples/tiny-lm/model.dsl", "Model.next", [{ ...blocks[1], V: 29 }], {
    types: [{ W: "bf16" }],
    spread: inside(["first", "second"]),
    made: { pos: positions },
    ranges: { ids: [0, "V"], last: [0, "S"] },
    unpromised: 1,
  }),

  // std.attention
  library("scored", attention, {
    types: floats.slice(1, 2),
    ranges: { pos_q: [0, 20], pos_k: [0, 20] },
    on: ["js", "ptx:sm_90a", "wgsl"],
    unpromised: 0.5,
  }),
  ...[
    ["step", "e4m3@4,4", 0, ["js", "wgsl"]],
    ["step", "bf16", 1, ["js", "ptx:sm_90a"]],
    ["step8", "bf16", 0, ["js", "ptx:sm_80"]],
    ["step8", "bf16", 2, ["js"]],
  ].flatMap(([entry, W, k, on]) =>
    spreadOver(["T", "Dn", "Dr", "Dv", "Ck", "P"], steps.slice(k, k + 1), (bound, size, text) =>
      program("stdlib/attention/mla.dsl", `Mla.${entry}`, [{ kv_pages: 4, kv_slots: 2, ...size }], {
        name: `std Mla.${entry} ${text}`,
        bound,
        fit: (sizes) => paged(sizes.P)(sizes),
        types: [{ W }],
        spread: latentSpread,
        unpromised: 0.05,
        made: stepInputs,
        on,
      }),
    ),
  ),
  program("stdlib/attention/gqa.dsl", "Gqa.step", [{ B: 2, S: 3, Dm: 9, kv_pages: 4, kv_slots: 2 }], {
    name: "std Gqa.step",
    fit: (sizes) => paged(sizes.P)(sizes),
    bound: { T: 5, Hkv: 2, G: 3, D: 4, Dv: 5, P: 4 },
    types: [{ W: "bf16" }],
    spread: blockSpread,
    ranges: { window: [3, 4] },
    unpromised: 0.05,
    made: stepInputs,
    on: ["js"],
  }),
];
