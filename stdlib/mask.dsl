/// Which keys a query sees, as bool[B, S, T] for `score where keep`. Masks combine with `and`.

/// Keys at or before the query.
fn causal(pos_q: i32[B, S], pos_k: i32[B, T]) -> bool[B, S, T] {
  for b, s, t: pos_k[b, t] <= pos_q[b, s]
}

/// The last `window` keys up to the query, itself included.
fn sliding(pos_q: i32[B, S], pos_k: i32[B, T], window: i32) -> bool[B, S, T] {
  for b, s, t: pos_k[b, t] <= pos_q[b, s] and pos_q[b, s] - pos_k[b, t] < window
}

/// Keys of the query's own document, where several are packed in one sequence.
fn document(doc_q: i32[B, S], doc_k: i32[B, T]) -> bool[B, S, T] {
  for b, s, t: doc_q[b, s] == doc_k[b, t]
}
