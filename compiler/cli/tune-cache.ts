/**
 * What `weft tune` has measured, on disk: one file for each plan on a device, named by the hash of all that was
 * measured, kernel texts included. A compiler that makes other kernels finds nothing of an older one's, and two
 * writers of one file write the same measurement; a file is renamed into its place, so no reader sees a part of it.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Artifact } from "../plan/plan.ts";
import { printPlan } from "../plan/build-plan.ts";
import { writeError, writeWhole } from "./write-folder.ts";

/** Median seconds of each launch, in the plan's order, with the number of its kernel. */
export type Times = readonly { readonly kernel: number; readonly seconds: number }[];

/** `--cache`, else WEFT_CACHE, else where the system keeps such things. */
export function cacheFolder(
  asked: string | undefined,
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const own = asked ?? env["WEFT_CACHE"];
  if (own !== undefined && own !== "") return resolve(cwd, own);
  const base = env["XDG_CACHE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".cache"), "weft", "tune");
}

/** Of a plan with its kernels, on a device, timed in one way. */
export function measurementKey(artifact: Artifact, device: string, way: string): string {
  const hash = createHash("sha256");
  const add = (text: string): void => void hash.update(`${text.length}:${text}`);
  for (const text of ["1", device, way, printPlan(artifact.plan)]) add(text);
  for (const [name, text] of [...artifact.files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    add(name);
    add(text);
  }
  return hash.digest("hex");
}

/** Undefined where there is none, or a file that is no measurement: it is made again then. */
export async function readTimes(folder: string, key: string): Promise<Times | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, `${key}.json`), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
  return parseTimes(text);
}

export async function writeTimes(folder: string, key: string, times: Times): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw writeError(folder, error);
  }
  await writeWhole(join(folder, `${key}.json`), `${JSON.stringify({ launches: times })}\n`);
}

function parseTimes(text: string): Times | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const launches: unknown =
    typeof value === "object" && value !== null && "launches" in value ? value.launches : undefined;
  if (!Array.isArray(launches)) return undefined;
  const times: { kernel: number; seconds: number }[] = [];
  for (const launch of launches as readonly unknown[]) {
    if (typeof launch !== "object" || launch === null || !("kernel" in launch) || !("seconds" in launch))
      return undefined;
    const { kernel, seconds } = launch;
    if (typeof kernel !== "number" || typeof seconds !== "number" || !(seconds > 0)) return undefined;
    times.push({ kernel, seconds });
  }
  return times;
}
