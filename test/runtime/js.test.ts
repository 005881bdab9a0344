import { expect, test } from "vitest";
import { openDevice } from "../../runtime/index.ts";
import { deviceTests, rowsOf } from "./device-tests.ts";
import { jsTexts, scalePlan } from "./scale-plan.ts";

deviceTests("js", jsTexts);

test("a kernel that does not parse, is not there or fails is named with its source line", async () => {
  const device = await openDevice("js");
  const load = (affine: string): Promise<unknown> => device.load(scalePlan({ ...jsTexts, affine }));
  await expect(load("export function affine( {")).rejects.toThrow(
    "kernel affine (scale.dsl:7:3), affine.js: Unexpected",
  );
  await expect(load("const affine = 3;")).rejects.toThrow("affine.js: affine is not a function");
  const plan = await device.load(
    scalePlan({ ...jsTexts, affine: "export function affine() { throw new Error('no luck'); }" }),
  );
  await expect(plan.run(rowsOf(2), { keep: false, time: false })).rejects.toThrow(
    "kernel affine (scale.dsl:7:3), affine.js: no luck",
  );
});
