/// 1F1B (Narayanan et al. 2019, PipeDream-Flush): a rank fills the pipeline behind it, then alternates one forward
/// with one backward, so that rank r holds at most P - r activations.
pipeline OneFOneB[P, M] where P >= 1, M >= P {
  rank r in P
  direction down: stage r

  let ahead = P - 1 - r  // forwards that the ranks behind need before the first backward comes back

  phase warm   for i in ahead     { F(down) }
  phase steady for i in M - ahead { F(down), B(down) }
  phase drain  for i in ahead     { B(down) }
}
