/**
 * The sizes at which decoding on paged caches is accepted: heads of queries that are no powers of two, each number of
 * heads of keys that divides them, one to four tokens of queries, both 16-bit dtypes. Sequences and their lengths are
 * left open in most plans, so that one is run with many; where they are known, long sweeps are cut in parts.
 */

const heads = [1, 3, 9, 16, 63, 64, 126, 128];
const keyHeads = [1, 2, 3, 8];
const tokens = [1, 2, 4];

const pairs = heads.flatMap((H) => keyHeads.filter((G) => H % G === 0).map((G) => [H, G]));

const latent = (A, S, [H, G], known = {}) => ({
  entry: "latent",
  A,
  dims: { S, G, R: H / G, Ck: 512, Dr: 64, ...known },
});
const grouped = (A, S, [H, G], known = {}) => ({
  entry: "grouped",
  A,
  dims: { S, G, R: H / G, D: 128, ...known },
});

const all = [
  // Every pair in both dtypes, at two of the three numbers of tokens.
  ...pairs.flatMap((pair, k) => [
    latent("bf16", tokens[k % 3], pair),
    latent("f16", tokens[(k + 1) % 3], pair),
  ]),
  ...keyHeads.map((G, k) => grouped(k % 2 === 0 ? "bf16" : "f16", tokens[k % 3], [G * (2 * k + 1), G])),
  // B sequences of at most T.
  latent("bf16", 1, [1, 1], { B: 1, T: 40 }),
  latent("f16", 2, [9, 3], { B: 6, T: 280 }),
  latent("bf16", 1, [128, 1], { B: 1, T: 8192 }),
  latent("f16", 1, [63, 1], { B: 2, T: 8192 }),
  latent("bf16", 4, [16, 1], { B: 2, T: 8192 }),
  latent("bf16", 2, [64, 2], { B: 6, T: 8192 }),
  latent("f16", 1, [126, 1], { B: 64, T: 8192 }),
  latent("bf16", 2, [128, 1], { B: 128, T: 8192 }),
  grouped("bf16", 1, [64, 8], { B: 1, T: 8192 }),
  grouped("f16", 2, [9, 3], { B: 6, T: 8192 }),
];

export const cases = all.map((one) => {
  const { S, G, R, B, T } = one.dims;
  const known = B === undefined ? "" : `-${B}x${T}`;
  return { ...one, name: `${one.entry}-${one.A}-${S}x${G * R}x${G}${known}` };
});
