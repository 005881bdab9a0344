/**
 * The kernels that the device tests compile, as an H200 ran them and as the simulator runs them: bit for bit.
 *
 * The fixture holds the texts, the inputs and the hashes of what each launch gave, so that the comparison is of the
 * very same PTX whatever the compiler emits by now; `WEFT_FIXTURES=emitted` writes what it emits now as cases for
 * run-on-gpu.py, and `WEFT_FIXTURES=emitted-answers` makes the fixture of them and of what the GPU answered.
 *
 * Approximate instructions give what the GPU gave for the same operand, which is held to the manual's bound.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  gunzipSync,
  gzipSync,
  inflateSync,
} from "node:zlib";
import { describe, expect, test } from "vitest";
import { distanceOf } from "./emitted/bounds.ts";
import { approximateOf } from "./emitted/approximate.ts";
import { emittedCases, type EmittedCases } from "./emitted/cases.ts";
import { ChainRun, Modules, hashOf, type Answer, type Chain } from "./emitted/chain.ts";

const at = (name: string): URL => new URL(`./fixtures/${name}`, import.meta.url);
const [cases, answers, fixture] = [
  at("emitted-cases.json.gz"),
  at("emitted-answers.json.gz"),
  at("emitted.json.br"),
];
const wanted = process.env["WEFT_FIXTURES"];

interface Fixture {
  readonly device: string;
  readonly texts: readonly string[];
  readonly chains: readonly Chain[];
  readonly answers: Readonly<Record<string, readonly Answer[]>>;
}

interface Ran {
  readonly device: string;
  readonly outputs: Readonly<
    Record<string, readonly { readonly outputs: readonly string[]; readonly log?: string }[]>
  >;
}

const inflated = (text: string): Uint8Array => inflateSync(Buffer.from(text, "base64"));

if (wanted === "emitted")
  test("cases are written for the GPU", { timeout: 600_000 }, async () => {
    writeFileSync(cases, gzipSync(JSON.stringify(await emittedCases()), { level: 9 }));
  });

if (wanted === "emitted-answers")
  test("the fixture is made of cases and answers", () => {
    const { texts, chains } = JSON.parse(gunzipSync(readFileSync(cases)).toString()) as EmittedCases;
    const ran = JSON.parse(gunzipSync(readFileSync(answers)).toString()) as Ran;
    const made: Fixture = {
      device: ran.device,
      texts,
      chains,
      answers: Object.fromEntries(
        Object.entries(ran.outputs).map(([name, launches]) => [
          name,
          launches.map(({ outputs, log }) => ({
            hashes: outputs.map((output) => hashOf(inflated(output))),
            ...(log === undefined ? {} : { log: Buffer.from(inflated(log)).toString("base64") }),
          })),
        ]),
      ),
    };
    const params = { [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS };
    writeFileSync(fixture, brotliCompressSync(JSON.stringify(made), { params }));
  });

describe.skipIf(!existsSync(fixture))("emitted kernels on an H200 and on the simulator", () => {
  test("the same bits", { timeout: 300_000 }, () => {
    const {
      texts,
      chains,
      answers: given,
    } = JSON.parse(brotliDecompressSync(readFileSync(fixture)).toString()) as Fixture;
    const modules = new Modules(texts);
    const wrong: string[] = [];
    let launches = 0;
    for (const chain of chains) {
      const run = new ChainRun(chain, modules);
      for (const [k, launch] of chain.launches.entries()) {
        const answer = given[chain.name]?.[k];
        const name = `${chain.name}, launch ${k} (${launch.entry})`;
        if (answer === undefined) {
          wrong.push(`${name}: no answer`);
          break;
        }
        const { hashes, approximations } = run.replay(launch, answer.log);
        launches += 1;
        const far = approximations && distanceOf(approximateOf(texts[launch.text] ?? ""), approximations);
        if (far !== undefined) wrong.push(`${name}: ${far}`);
        // What follows in this chain would differ in its inputs.
        if (hashes.every((hash, n) => hash === answer.hashes[n])) continue;
        wrong.push(`${name}: other bytes`);
        break;
      }
    }
    expect(wrong).toEqual([]);
    expect(launches).toBeGreaterThan(500);
  });
});
