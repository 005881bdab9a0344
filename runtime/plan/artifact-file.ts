/** A compiled program on disk: `plan.json` and its kernels beside it, whose hashes must be the plan's. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Artifact } from "../../compiler/plan/plan.ts";
import { PlanError } from "./fields.ts";
import { parsePlan } from "./parse-plan.ts";

/** Reads a folder that `weft build -o` wrote. Throws `PlanError`, or the system's own error for a file that is not there. */
export async function readArtifact(folder: string): Promise<Artifact> {
  const plan = parsePlan(await readFile(join(folder, "plan.json"), "utf8"));
  const files = new Map<string, string>();
  for (const { name, file, sha256 } of plan.kernels) {
    const bytes = await readFile(join(folder, file));
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) {
      throw new PlanError(`${file}, kernel ${name}, is not the file that plan.json was written with`);
    }
    files.set(file, bytes.toString("utf8"));
  }
  return { plan, files };
}
