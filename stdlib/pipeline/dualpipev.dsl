/// DualPipeV (DualPipe cut in half): the pipeline goes down the ranks and comes back up, so rank r holds stages r and
/// 2 * P - 1 - r of one direction, and micro-batches enter at rank 0 alone.
pipeline DualPipeV[P, M] where P >= 1, M >= 2 * P {
  rank r in P
  direction v: stage r, 2 * P - 1 - r  // v, 0 on the way down, v, 1 on the way back

  let mid = (r + 1) / 2

  // F forward, B whole backward, I input gradient only, W the oldest weight gradient still owed
  phase warm    for i in 2 * (P - 1 - r)   { F(v, 0) }
  phase fill    for i in r + 1             { F(v, 0), F(v, 1) }
  phase zero    for i in P - 1 - r         { I(v, 1), W, F(v, 1) }
  phase steady  for i in M - 2 * P + r + 1 {
    if i == 0 and r == P - 1 then { F(v, 0), B(v, 1) } else overlap(F(v, 0), B(v, 1)),
    overlap(F(v, 1), B(v, 0))
  }
  phase drain   for i in P - 1 - r         { B(v, 1), overlap(F(v, 1), B(v, 0)) }
  phase empty   for i in r + 1             {
    if i > mid or (i == mid and r % 2 == 1) then I(v, 1) else B(v, 1),
    if i >= mid then I(v, 0) else B(v, 0)
  }
  phase weights for i in P - 1 - r         { W, I(v, 0) }
  phase rest    for i in r + 1             { W }
}
