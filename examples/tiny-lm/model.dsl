/// A small language model over bytes: an embedding, two Llama-style blocks, and the embedding again as output head.
import std.nn { rmsnorm }
import "../llama/block.dsl" { Block }

dim B, S, V, Dm, Hkv, G, Dh, F

module Model<W: weight> {
  param embed:  W[V, Dm]
  param first:  Block<W>
  param second: Block<W>
  param g_out:  f32[Dm]

  /// ids: token numbers; pos: their positions. Gives the logits of the next token at each position.
  fn forward(ids: i64[B, S], pos: i32[B, S]) -> f32[B, S, V] {
    let x: bf16[B, S, Dm] = for b, s, m: embed[ids[b, s], m]
    let y = second.forward(first.forward(x, pos), pos)
    let z = rmsnorm(y, g_out)
    for b, s, v: sum[m](z[b, s, m] * embed[v, m])
  }

  /// The likeliest token after position `last` of each sequence.
  fn next(ids: i64[B, S], pos: i32[B, S], last: i32[B]) -> i32[B] {
    let logits = forward(ids, pos)
    for b: argmax[v](logits[b, last[b], v])
  }
}
