/** The driver of the device tests on the sources. */
import { compile, render, type Artifact } from "../../compiler/index.ts";
import { interpret } from "../../compiler/tensor/interpret.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import {
  elementCount,
  findViolations,
  fromNumbers,
  randomTensor,
  toNumbers,
  type Device,
} from "../../runtime/index.ts";
import { driverOf, text } from "./driver.mjs";

export const driver = driverOf({
  compile,
  render,
  interpret,
  evaluate,
  randomTensor,
  fromNumbers,
  findViolations,
  toNumbers,
  count: elementCount,
});

export type Case = (typeof driver.cases)[number];
export type Types = Case["types"][number];
export type Sizes = Case["sizes"][number];

export { text };

/** Compiles a case for a target, and says what is wrong with its runs: none of it is expected. */
export async function problemsOf(
  one: Case,
  types: Types,
  device: Device,
  target: string,
  sizes: readonly Sizes[],
  known: boolean,
): Promise<readonly string[]> {
  const problems: string[] = [];
  const open = known ? undefined : await loaded(one, types, device, target, {});
  for (const size of sizes) {
    const { compiled, plan, program } = open ?? (await loaded(one, types, device, target, size));
    const dims = { ...one.bound, ...size };
    const inputs = driver.inputsOf(one, compiled, dims);
    const expected = driver.referenceOf(compiled, inputs, dims);
    const run = await driver.compareRun(one, plan, program, inputs, expected);
    problems.push(
      ...run.problems.map((problem: string) => `${one.name} ${text(types)} ${text(dims)}: ${problem}`),
    );
    if (open === undefined) program.free();
  }
  open?.program.free();
  return problems;
}

async function loaded(one: Case, types: Types, device: Device, target: string, size: Sizes) {
  const compiled = driver.compileCase(one, types, target, size);
  const artifact: Artifact = compiled.artifact;
  return { compiled, plan: artifact.plan, program: await device.load(artifact) };
}
