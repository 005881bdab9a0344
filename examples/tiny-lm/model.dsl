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

  /// What the last product of the second block multiplies, and the stream that it is added to: for the script that
  /// fits that product.
  fn features(ids: i64[B, S], pos: i32[B, S]) -> (stream: bf16[B, S, Dm], hidden: bf16[B, S, F]) {
    let x: bf16[B, S, Dm] = for b, s, m: embed[ids[b, s], m]
    let y = first.forward(x, pos)
    let z: bf16[B, S, Dm] = y + second.attention(rmsnorm(y, second.g_attn), pos)
    (stream: z, hidden: second.gated(rmsnorm(z, second.g_mlp)))
  }

  /// The likeliest token after position `last` of each sequence.
  fn next(ids: i64[B, S], pos: i32[B, S], last: i32[B]) -> i32[B] {
    let logits = forward(ids, pos)
    for b: argmax[v](logits[b, last[b], v])
  }
}
