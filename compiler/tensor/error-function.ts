/**
 * erf in f64, for the oracle: Kummer's series, all of whose terms are positive, so that nothing cancels.
 *
 *     erf(x) = 2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n + 1) / (1 * 3 * .. * (2n + 1))
 */
export function errorFunction(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude !== magnitude) return x;
  // erfc(6) is below 2^-54, so that erf is 1 in f64.
  if (magnitude >= 6) return Math.sign(x);
  const square = x * x;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 2 ** -56; n++) {
    term *= (2 * square) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * sum;
}
