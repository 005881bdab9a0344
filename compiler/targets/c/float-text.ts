/** Finite f32 values in decimal. */

/** The shortest decimal that reads back as this f32, with a point or an exponent so that it is a float everywhere. */
export function floatText(value: number): string {
  const text = shortest(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function shortest(value: number): string {
  if (Object.is(value, -0)) return "-0";
  for (let digits = 1; digits <= 9; digits += 1) {
    const rounded = Number(value.toPrecision(digits));
    // A decimal above the largest f32 reads back as it, but some front ends refuse it.
    if (Math.fround(rounded) === value && Math.abs(rounded) <= 3.4028234663852886e38) return String(rounded);
  }
  return String(value);
}
