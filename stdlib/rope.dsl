/// Rotary positions. Pairs are neighbours (2i, 2i + 1), turned as complex numbers by pos times a frequency;
/// pos may lack axes of x, such as the heads.

/// x: [..., D], pos: [...]; pair i turns by pos * theta^(-2i / D).
fn rope<A: float>(x: A[..., D], pos: i32[...], theta: f32 = 1e4) -> A[..., D] where D % 2 == 0 {
  let p = x as [..., D / 2, 2]
  let a = for ..., i in D / 2: f32(pos[...]) * exp(-log(theta) * f32(2 * i) / D)
  let y = for ..., i, c in 2: select(
    c == 0,
    p[..., i, 0] * cos(a[..., i]) - p[..., i, 1] * sin(a[..., i]),
    p[..., i, 0] * sin(a[..., i]) + p[..., i, 1] * cos(a[..., i]),
  )
  y as [..., D]
}

/// x: [..., D], pos: [...], freq: [D / 2]; pair i turns by pos * freq[i].
fn turn<A: float>(x: A[..., D], pos: i32[...], freq: f32[D / 2]) -> A[..., D] where D % 2 == 0 {
  let p = x as [..., D / 2, 2]
  let a = for ..., i: f32(pos[...]) * freq[i]
  let y = for ..., i, c in 2: select(
    c == 0,
    p[..., i, 0] * cos(a[..., i]) - p[..., i, 1] * sin(a[..., i]),
    p[..., i, 0] * sin(a[..., i]) + p[..., i, 1] * cos(a[..., i]),
  )
  y as [..., D]
}

/// x: [..., D], pos: [...]; RoPE with the frequencies of YaRN. Attention scores are to be multiplied by
/// mscale(factor)^2 beside it.
fn yarn<A: float>(
  x: A[..., D],
  pos: i32[...],
  theta: f32 = 1e4,
  factor: f32 = 40.0,
  original: f32 = 4096.0,
  fast: f32 = 32.0,
  slow: f32 = 1.0,
) -> A[..., D] where D % 2 == 0 {
  let freq = yarn_frequencies[D](theta, factor, original, fast, slow)
  turn(x, pos, freq)
}

/// The frequencies of pairs of a width D, of which the slow ones are stretched by `factor`, for sequences longer than
/// the `original` length of training (YaRN). A pair that turns more than `fast` times over that length keeps its
/// frequency, one that turns less than `slow` times has it divided by `factor`, and those between are mixed. A factor
/// of 1 stretches nothing.
fn yarn_frequencies[D](
  theta: f32 = 1e4,
  factor: f32 = 40.0,
  original: f32 = 4096.0,
  fast: f32 = 32.0,
  slow: f32 = 1.0,
) -> f32[D / 2] where D % 2 == 0 {
  let low = max(floor(pair(fast, f32(D), theta, original)), 0.0)
  let high = min(ceil(pair(slow, f32(D), theta, original)), f32(D - 1))
  let span = max(high - low, 0.001)
  let base = for i in D / 2: exp(-log(theta) * f32(2 * i) / D)
  let ramp = for i in D / 2: clamp((f32(i) - low) / span, 0.0, 1.0)
  for i in D / 2: base[i] / factor * ramp[i] + base[i] * (1.0 - ramp[i])
}

/// The pair, as a real number, that turns `rotations` times over `original` positions, for a width of `width`.
fn pair(rotations: f32, width: f32, theta: f32, original: f32) -> f32 {
  width * log(original / (rotations * 6.283185307179586)) / (2.0 * log(theta))
}

/// What YaRN multiplies queries and keys by, each: 0.1 * coefficient * ln(factor) + 1, and 1 where nothing is
/// stretched.
fn mscale(factor: f32, coefficient: f32 = 1.0) -> f32 {
  select(factor <= 1.0, 1.0, 0.1 * coefficient * log(factor) + 1.0)
}
