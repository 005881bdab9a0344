/// GPipe (Huang et al. 2019): all micro-batches forward, then all backward. Every activation lives until then.
pipeline GPipe[P, M] where P >= 1, M >= 1 {
  rank r in P
  direction down: stage r

  phase forward  for i in M { F(down) }
  phase backward for i in M { B(down) }
}
