/// Programs for the devices: the standard library with its axes written out, and the language one construct at a time.
import std.nn { softmax, rmsnorm, layernorm, silu, gelu, swiglu, cross_entropy }
import std.rope { rope, yarn, mscale }
import std.mask { causal, sliding, document }
import std.cache { Paged }
import std.attention.heads { scores, softcap, alibi, weigh_sinks, lse }

dim B, S, T, N, M, D, E, F, V, K, C
dim G, H, Hkv, Dv
dim R[E]

// -- the standard library

fn softened<A: float>(x: A[N, D]) -> A[N, D] { softmax[D](x) }
fn softened_columns<A: float>(x: A[N, D]) -> A[N, D] { softmax[N](x) }
fn softened_kept<A: float>(x: A[N, D], keep: bool[N, D]) -> A[N, D] { softmax[D](x where keep) }
fn normalised<A: float>(x: A[N, D], g: f32[D]) -> A[N, D] { rmsnorm(x, g) }
fn layered<A: float>(x: A[N, D], g: f32[D], b: f32[D]) -> A[N, D] { layernorm(x, g, b) }
fn silu_of<A: float>(x: A[N, D]) -> A[N, D] { silu(x) }
fn gelu_of<A: float>(x: A[N, D]) -> A[N, D] { gelu(x) }
fn gated<A: float>(gate: A[N, D], up: A[N, D]) -> A[N, D] { swiglu(gate, up) }
fn loss<A: float>(logits: A[N, V], target: i32[N]) -> f32[N] { cross_entropy[V](logits, target) }
fn turned<A: float>(x: A[B, S, H, D], pos: i32[B, S]) -> A[B, S, H, D] where D % 2 == 0 { rope(x, pos) }
fn stretched<A: float>(x: A[B, S, H, D], pos: i32[B, S]) -> A[B, S, H, D] where D % 2 == 0 {
  rope_scale(yarn(x, pos, 10000.0, 4.0, 64.0))
}
fn rope_scale<A: float>(x: A[...]) -> A[...] { for ...: x[...] * mscale(4.0) }
fn masks(pos_q: i32[B, S], pos_k: i32[B, T], window: i32, doc_q: i32[B, S], doc_k: i32[B, T])
  -> (c: bool[B, S, T], s: bool[B, S, T], d: bool[B, S, T]) {
  (c: causal(pos_q, pos_k), s: sliding(pos_q, pos_k, window), d: document(doc_q, doc_k))
}

fn scored<A: float>(
  q: A[B, S, Hkv, G, D],
  k: A[B, T, Hkv, D],
  v: A[B, T, Hkv, Dv],
  pos_q: i32[B, S],
  pos_k: i32[B, T],
  slope: f32[Hkv, G],
  sink: f32[Hkv, G],
) -> (o: A[B, S, Hkv, G, Dv], lse: f32[B, S, Hkv, G]) {
  let keep = causal(pos_q, pos_k)
  let score = alibi(softcap(scores(q, k, rsqrt(D)), 2.0), slope, pos_q, pos_k)
  (o: weigh_sinks(score, keep, v, sink), lse: lse(score, keep))
}

// -- reductions

fn reduced(x: f32[N, D]) -> (s: f32[N], p: f32[N], hi: f32[N], lo: f32[N], m: f32[N], l: f32[N], a: i32[N]) {
  (s: for n: sum[d](x[n, d]), p: for n: prod[d](x[n, d]), hi: for n: max[d](x[n, d]), lo: for n: min[d](x[n, d]),
    m: for n: mean[d](x[n, d]), l: for n: logsumexp[d](x[n, d]), a: for n: argmax[d](x[n, d]))
}
fn reduced_kept(x: f32[N, D], keep: bool[N, D])
  -> (s: f32[N], p: f32[N], hi: f32[N], lo: f32[N], m: f32[N], l: f32[N], a: i32[N]) {
  let y = x where keep
  (s: for n: sum[d](y[n, d]), p: for n: prod[d](y[n, d]), hi: for n: max[d](y[n, d]), lo: for n: min[d](y[n, d]),
    m: for n: mean[d](y[n, d]), l: for n: logsumexp[d](y[n, d]), a: for n: argmax[d](y[n, d]))
}
fn reduced_columns<A: float>(x: A[N, D]) -> (s: f32[D], hi: f32[D], a: i32[D]) {
  (s: for d: sum[n](x[n, d]), hi: for d: max[n](x[n, d]), a: for d: argmax[n](x[n, d]))
}
fn reduced_all<A: float>(x: A[N, D]) -> (s: f32, hi: f32, l: f32) {
  (s: sum[n, d](x[n, d]), hi: max[n, d](x[n, d]), l: logsumexp[n, d](x[n, d]))
}
fn counted(x: i32[N, D]) -> (some: bool[N], every: bool[N], total: i32[N], top: i32[N], least: i32[N], times: i32[N]) {
  (some: for n: any[d](x[n, d] > 1), every: for n: all[d](x[n, d] > -3), total: for n: sum[d](x[n, d]),
    top: for n: max[d](x[n, d]), least: for n: min[d](x[n, d]), times: for n: prod[d](x[n, d]))
}
fn middle<A: float>(x: A[B, S, D]) -> A[B, D] { for b, d: sum[s](x[b, s, d]) }

// -- contractions

fn multiplied<A: float>(x: A[N, K], w: A[M, K]) -> A[N, M] { for n, m: sum[k](x[n, k] * w[m, k]) }
fn multiplied_plain<A: float>(x: A[N, K], w: A[K, M]) -> A[N, M] { for n, m: sum[k](x[n, k] * w[k, m]) }
fn multiplied_left<A: float>(x: A[K, N], w: A[K, M]) -> f32[N, M] { for n, m: sum[k](x[k, n] * w[k, m]) }
fn multiplied_batch<A: float>(x: A[B, H, N, K], w: A[B, H, M, K]) -> A[B, H, N, M] {
  for b, h, n, m: sum[k](x[b, h, n, k] * w[b, h, m, k])
}
fn multiplied_vector<A: float>(x: A[K], w: A[M, K]) -> A[M] { for m: sum[k](x[k] * w[m, k]) }
fn multiplied_mixed(x: bf16[N, K], w: e4m3[M, K]) -> bf16[N, M] { for n, m: sum[k](x[n, k] * w[m, k]) }
fn multiplied_tf32<A: float>(x: A[N, K], w: f32[K, M]) -> f32[N, M] { for n, m: sum[k](x[n, k] * w[k, m]) }
numerics multiplied_tf32 { contract: tf32 }
fn multiplied_bias<A: float>(x: A[N, K], w: A[M, K], b: f32[M]) -> A[N, M] {
  for n, m: gelu(sum[k](x[n, k] * w[m, k]) + b[m])
}
fn multiplied_two(x: bf16[B, S, H, K], w: bf16[M, H, K]) -> bf16[B, S, M] {
  for b, s, m: sum[h, k](x[b, s, h, k] * w[m, h, k])
}

// -- along an axis

fn best<A: float>(x: A[N, D], keep: bool[N, D])
  -> (v: A[N, 2], i: i32[N, 2], m: bool[N, D], w: A[N, 2], j: i32[N, 2]) where 2 <= D {
  let a = topk[D, 2](x)
  let b = topk[D, 2](x where keep)
  (v: a.values, i: a.index, m: a.mask, w: b.values, j: b.index)
}
fn running(x: f32[N, D], keep: bool[N, D]) -> (c: f32[N, D], r: f32[N, D], k: f32[N, D]) {
  (c: cumsum[D](x), r: cumsum[N](x), k: cumsum[D](x where keep))
}
fn sorted<A: float>(x: A[N, D], keep: bool[N, D]) -> (s: A[N, D], r: A[N, D], k: A[N, D]) {
  (s: sort[D](x), r: sort[N](x), k: sort[D](x where keep))
}
fn scattered(x: f32[N, D], to: i32[N]) -> f32[E, D] { scatter_add[E](to, x) }

// -- reads, views

fn gathered<A: float>(table: A[V, D], ids: i32[N]) -> A[N, D] { for n, d: table[ids[n], d] }
fn gathered_wide(table: bf16[V, D], ids: i64[N]) -> (rows: bf16[N, D], next: i64[N]) {
  (rows: for n, d: table[ids[n], d], next: for n: ids[n] * 3 - i64(n))
}
fn shifted(x: f32[B, S]) -> f32[B, S] { for b, s in S: (x[b, s - 2] else -1.0) + (x[b, s + 1] else 0.5) }
fn convolved<A: float>(x: A[B, S, C], w: A[4, C]) -> A[B, S, C] {
  for b, s in S, c: sum[i in 4]((x[b, s - i, c] else 0.0) * w[i, c])
}
fn parted<A: float>(x: A[N, D + E]) -> (l: A[N, D], r: A[N, E], swapped: A[N, E + D]) {
  let (a, b) = split[D | E](x)
  (l: for n, i in D: a[n, i + 1] else -7.0, r: for n, i in E: b[n, i - 1] else -8.0, swapped: join[E + D](b, a))
}
fn reshaped<A: float>(x: A[B, H * D]) -> (a: A[H, B, D], c: A[B * H, D]) {
  let y = x as [B, H, D]
  (a: for h, b, d: y[b, h, d], c: y as [B * H, D])
}
fn transposed<A: float>(x: A[N, D]) -> A[D, N] { for d, n: x[n, d] }
fn diagonal(x: f32[N, N]) -> f32[N] { for n: x[n, n] }

// -- scalars

fn divided(a: i32[N], b: i32[N]) -> (q: i32[N], r: i32[N], s: i32[N], p: i32[N], m: i32[N], n: i32[N], x: i32[N], c: i32[N]) {
  (q: for n: a[n] / b[n], r: for n: a[n] % b[n], s: for n: a[n] / 4, p: for n: a[n] % 7, m: for n: a[n] * b[n],
    n: for n: -a[n] - 3, x: for n: max(min(a[n], b[n]), -5), c: for n: clamp(abs(a[n]), 2, 9))
}
fn divided_wide(a: i64[N], b: i64[N]) -> (q: i64[N], r: i64[N], m: i64[N], s: i64[N], l: bool[N], t: i32[N]) {
  (q: for n: a[n] / b[n], r: for n: a[n] % b[n], m: for n: a[n] * b[n], s: for n: a[n] - b[n],
    l: for n: a[n] < b[n], t: for n: i32(a[n]))
}
fn unsigned(a: u32[N], b: u32[N]) -> (q: u32[N], r: u32[N], s: u32[N], f: f32[N]) {
  (q: for n: a[n] / (b[n] + 1), r: for n: a[n] % (b[n] + 1), s: for n: a[n] + b[n], f: for n: f32(a[n]))
}
fn narrowed(x: f32[N]) -> (h: f16[N], b: bf16[N], e: e4m3[N], g: e5m2[N], i: i32[N], u: u32[N], c: i8[N], d: u8[N], l: i64[N], t: bool[N]) {
  (h: x, b: x, e: x, g: x, i: for n: i32(x[n]), u: for n: u32(x[n]), c: for n: i8(x[n]), d: for n: u8(x[n]), l: for n: i64(x[n]),
    t: for n: bool(x[n]))
}
fn widened(h: f16[N], b: bf16[N], e: e4m3[N], g: e5m2[N], i: i32[N], u: u32[N], c: i8[N], d: u8[N], l: i64[N], t: bool[N])
  -> (h: f32[N], b: f32[N], e: f32[N], g: f32[N], i: f32[N], u: f32[N], c: f32[N], d: f32[N], l: f32[N], t: f32[N], ci: i32[N], du: u32[N]) {
  (h: for n: f32(h[n]), b: for n: f32(b[n]), e: for n: f32(e[n]), g: for n: f32(g[n]), i: for n: f32(i[n]), u: for n: f32(u[n]),
    c: for n: f32(c[n]), d: for n: f32(d[n]), l: for n: f32(l[n]), t: for n: f32(t[n]), ci: for n: i32(c[n]) * 3, du: for n: u32(d[n]) + 1)
}
fn functions(x: f32[N]) -> (a: f32[N], b: f32[N], c: f32[N], d: f32[N], e: f32[N], f: f32[N], g: f32[N], h: f32[N], i: f32[N], j: f32[N]) {
  (a: exp(x), b: exp2(x), c: log(abs(x)), d: log2(abs(x) + 1.0), e: sqrt(abs(x)), f: rsqrt(abs(x) + 0.5), g: sin(x), h: cos(x),
    i: tanh(x), j: sigmoid(x))
}
fn more_functions(x: f32[N]) -> (a: f32[N], b: f32[N], c: f32[N], d: f32[N], e: f32[N], f: f32[N], g: f32[N]) {
  (a: erf(x), b: floor(x), c: ceil(x), d: round(x), e: clamp(x, -1.0, 1.0), f: for n: select(x[n] > 0.0 and not (x[n] > 1.0) or x[n] < -2.0, x[n], 0.0),
    g: for n: x[n] / (abs(x[n]) + 0.25))
}
fn flags(a: bool[N], b: bool[N], x: f32[N]) -> (c: bool[N], d: bool[N], e: bool[N], f: bool[N], g: bool[N]) {
  (c: for n: a[n] and b[n], d: for n: a[n] or not b[n], e: for n: x[n] == x[n], f: for n: x[n] != 0.0, g: for n: x[n] >= 0.0)
}
fn small(a: i8[N], b: u8[N]) -> (c: i8[N], d: u8[N], s: i32) { (c: for n: a[n], d: for n: b[n], s: sum[n](i32(a[n]))) }
fn rounded(x: f32[N]) -> (a: f32[N], b: f32[N], h: f32[N]) {
  let y: bf16[N] = for n: x[n] * 3.0
  let z: e4m3[N] = for n: x[n] * 3.0
  let w: f16[N] = for n: x[n] * 3.0
  (a: for n: y[n] + 0.0, b: for n: z[n] + 0.0, h: for n: w[n] + 0.0)
}
fn scaled(x: f32[N], a: f32, w: i32) -> (y: f32[N], z: i32[N], c: f32) { (y: for n: a * x[n] / N, z: for n in N: n * w + N, c: a * 2.0) }
fn broadcast<A: float>(x: A[N, D], y: f32[D]) -> A[N, D] { x * y + 1.0 }

// -- block scales, caches, routing

fn quantized(x: f32[N, D]) -> (q: e4m3[N, D] @ (1, 128), y: f32[N, D]) {
  let q = quantize<e4m3 @ (1, 128)>(x)
  (q: q, y: dequantize(q))
}
fn quantized_rows(x: bf16[N, D], g: f32[D], to: i32[M])
  -> (n: e4m3[N, D] @ (1, 128), s: e4m3[N, D] @ (1, 128), m: e4m3[M, D] @ (1, 128)) {
  let rows = for m, d: x[to[m], d]
  (n: quantize<e4m3 @ (1, 128)>(rmsnorm(x, g)), s: quantize<e4m3 @ (1, 128)>(swiglu(x, x)),
    m: quantize<e4m3 @ (1, 128)>(rows))
}
fn quantized_squares(x: bf16[N, D]) -> e4m3[N, D] @ (128, 128) { quantize<e4m3 @ (128, 128)>(x) }
fn quantized_powers(x: f32[N, D]) -> (q: e4m3[N, D] @ (2, 4) ue8m0, y: f32[N, D]) {
  let q = quantize<e4m3 @ (2, 4) ue8m0>(x)
  (q: q, y: dequantize(q))
}
fn cached(x: f32[B, S, C], count: i32[B], pos: i32[B, S], mut kv: Paged<f32, 4>[B, T, C]) -> (rows: f32[B, T, C], seen: bool[B, S, T]) {
  kv.append(x, count)
  (rows: kv.read(), seen: kv.visible(pos))
}
fn cached_parts(x: f32[B, S, C], r: f32[B, S, D], count: i32[B], mut kv: Paged<e4m3 @ (4), bf16, 4>[B, T, C, D])
  -> (c: f32[B, T, C], r: bf16[B, T, D]) {
  kv.append(x, r, count)
  let (c, r) = kv.read()
  (c: dequantize(c), r: r)
}
fn routed(x: f32[N, D], index: i32[N, K], w: f32[E, F, D], g: f32[N, K]) -> f32[N, F] {
  let (rows, plan) = dispatch[E](x, index)
  let y = for e, t, f: sum[d](rows[e, t, d] * w[e, f, d])
  combine(y, plan, g)
}
