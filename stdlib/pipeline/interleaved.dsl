/// Interleaved 1F1B (Narayanan et al. 2021, Megatron-LM) with two stages a rank: rank r holds stages r and P + r, and
/// works on groups of P micro-batches, so that the bubble is half of 1F1B's.
pipeline Interleaved[P, M] where P >= 2, M >= P, M % P == 0 {
  rank r in P
  direction down: stage r, P + r

  let chunks = 2 * M  // forwards of one rank, at both its stages
  let warm   = min(chunks, 2 * (P - 1 - r) + P)

  // the k-th forward is at stage (k / P) % 2 of the rank's two, the k-th backward at the other
  phase fill   for i in warm          { F(down, i / P % 2) }
  phase steady for i in chunks - warm { F(down, (i + warm) / P % 2), B(down, 1 - i / P % 2) }
  phase drain  for i in warm          { B(down, 1 - (i + chunks - warm) / P % 2) }
}
