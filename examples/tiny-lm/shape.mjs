// The sizes of the model and what stands in its weights file, for the script that makes it and the one that uses it.

/** Positions, vocabulary (bytes), width, key/value heads, query heads of each, head width, MLP width. */
export const sizes = { S: 48, V: 256, Dm: 64, Hkv: 2, G: 2, Dh: 16, F: 512, W: "bf16" };

export const file = "examples/tiny-lm/model.dsl";

/** Beside what is built, which the repository does not keep. */
export const weightsFile = new URL("../../dist/tiny-lm.safetensors", import.meta.url).pathname;

/** `count` rows of token numbers, each line filled up with zeros to S, and the positions that go with them. */
export function batchOf(lines) {
  const { S } = sizes;
  const ids = lines.flatMap((line) => Array.from({ length: S }, (_, s) => BigInt(line[s] ?? 0)));
  const pos = lines.flatMap(() => Array.from({ length: S }, (_, s) => s));
  return { ids, pos };
}
