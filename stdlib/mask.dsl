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

/// a: [..., Y], masked or not; 0 where masked. A sum of products with such weights leaves nothing out, and so is a
/// product of matrices; where a weight is 0, what it weighs has to be finite.
fn zeroed<A: float>[Y](a: A[..., Y]) -> A[..., Y] { a }
