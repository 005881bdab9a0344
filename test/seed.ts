/**
 * The seed of every property that is tested on random cases. Each run draws new ones; `WEFT_SEED` fixes it, so that
 * what CI says depends on the change alone. fast-check prints the seed of a run that fails, either way.
 */
const text = process.env["WEFT_SEED"];

if (text !== undefined && text !== "") {
  const seed = Number(text);
  if (!Number.isInteger(seed)) throw new Error(`WEFT_SEED=${text}: a seed is a whole number`);
  // Only here: most files of tests have no properties, and loading it takes as long as many of them run.
  const { configureGlobal, readConfigureGlobal } = await import("fast-check");
  configureGlobal({ ...readConfigureGlobal(), seed });
}

export {};
