/** The text of a plan's kernel among the artifact's files. */
import type { Artifact, PlanKernel } from "../../compiler/plan/plan.ts";
import { DeviceError } from "../device.ts";

/** Throws `DeviceError` where the artifact lacks the file. */
export function textOf(artifact: Artifact, kernel: PlanKernel): string {
  const text = artifact.files.get(kernel.file);
  if (text === undefined)
    throw new DeviceError(`the plan's file ${kernel.file}, kernel ${kernel.name}, is missing`);
  return text;
}

/** Throws `DeviceError` unless the device takes plans for that target. */
export function checkTarget(
  artifact: Artifact,
  device: { readonly name: string; readonly targets: readonly string[] },
): void {
  const { target, program, kernels } = artifact.plan;
  const mapped = kernels.find(({ maps }) => maps.length > 0);
  if (mapped !== undefined && !target.startsWith("ptx:"))
    throw new DeviceError(`the plan's kernel ${mapped.name} takes tensor maps, which ${target} has none of`);
  if (device.targets.includes(target)) return;
  throw new DeviceError(
    `${program} is compiled for ${target}, and the device ${device.name} takes ${device.targets.join(", ")}`,
  );
}
