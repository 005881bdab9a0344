/// ZB1P (Qi et al. 2023, ZB-H1): 1F1B whose backward is cut in two. The input gradient, which the rank before waits
/// for, goes first; weight gradients wait, r of them on rank r, and fill the end. No more activations than 1F1B's P.
pipeline ZB1P[P, M] where P >= 1, M >= P {
  rank r in P
  direction down: stage r

  let ahead = P - 1 - r

  phase warm   for i in ahead         { F(down) }
  phase delay  for i in r             { F(down), I(down) }
  phase steady for i in M - ahead - r { F(down), I(down), W }
  phase drain  for i in ahead         { I(down), W }
  phase rest   for i in r             { W }
}
