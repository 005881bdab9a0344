/**
 * The simulator against an H200: bit for bit where arithmetic is exact, within a computed bound where the manual or
 * the order of additions leaves room. `WEFT_FIXTURES=write` writes the cases that run-on-gpu.py takes.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadModule, type Module } from "../../runtime/simulate/index.ts";
import { bf16ToNumber, f16ToNumber } from "../../runtime/simulate/numeric/formats.ts";
import { encodeFixtures, fixtureCases, type FixtureCase } from "./fixture-cases.ts";
import { runSample, type Sample } from "./harness.ts";

const folder = new URL("./fixtures/", import.meta.url);
const answers = new URL("h200.json", folder);

interface Answers {
  readonly device: string;
  readonly outputs: Readonly<Record<string, readonly string[]>>;
}

/** Bounds of the approximate instructions (PTX ISA 9.7.3, 9.7.4): relative, or absolute where the manual says so. */
const bounds: readonly {
  readonly name: RegExp;
  readonly relative?: number;
  readonly absolute?: number;
  readonly within?: number;
}[] = [
  { name: /^ex2\.approx\.(ftz\.)?f32/, relative: 2 ** -22 },
  { name: /^lg2\.approx/, relative: 2 ** -22, absolute: 2 ** -22 },
  { name: /^(sin|cos)\.approx/, absolute: 2 ** -20.5, within: 2 * Math.PI },
  { name: /^tanh\.approx\.f32/, relative: 2 ** -10.5 },
  { name: /^rcp\.approx\.ftz\.f64|^rsqrt\.approx.*f64/, relative: 2 ** -19 },
  { name: /^(rcp|rsqrt|sqrt|div)\.(approx|full)/, relative: 2 ** -21.5 },
  { name: /^ex2\.approx.*bf16/, relative: 2 ** -7 },
  { name: /^ex2\.approx\.f16/, relative: 2 ** -9.5, absolute: 2 ** -24 },
  { name: /^tanh\.approx.*bf16/, absolute: 2 ** -8 },
  { name: /^tanh\.approx\.f16/, absolute: 2 ** -10.5 },
];

const scratch = new DataView(new ArrayBuffer(8));

/** The numbers in one result word. */
function numbersOf(word: bigint, type: string): number[] {
  scratch.setBigUint64(0, word);
  switch (type) {
    case "f32":
      return [scratch.getFloat32(4)];
    case "f64":
      return [scratch.getFloat64(0)];
    case "f16":
      return [f16ToNumber(Number(word & 0xffffn))];
    case "bf16":
      return [bf16ToNumber(Number(word & 0xffffn))];
    case "f16x2":
      return [f16ToNumber(Number(word & 0xffffn)), f16ToNumber(Number((word >> 16n) & 0xffffn))];
    case "bf16x2":
      return [bf16ToNumber(Number(word & 0xffffn)), bf16ToNumber(Number((word >> 16n) & 0xffffn))];
    default:
      return [];
  }
}

const words = (bytes: Uint8Array): BigUint64Array => new BigUint64Array(bytes.slice().buffer);

function sameBits(ours: bigint, theirs: bigint, type: string): boolean {
  if (ours === theirs) return true;
  const [a, b] = [numbersOf(ours, type), numbersOf(theirs, type)];
  return a.length > 0 && a.every((x, i) => Object.is(x, b[i]!));
}

function near(c: FixtureCase, ours: bigint, theirs: bigint, input: bigint): boolean {
  const bound = bounds.find((candidate) => candidate.name.test(c.name));
  if (bound === undefined) return false;
  scratch.setBigUint64(0, input);
  if (bound.within !== undefined && !(Math.abs(scratch.getFloat32(4)) <= bound.within)) return true;
  const [a, b] = [numbersOf(ours, c.resultType), numbersOf(theirs, c.resultType)];
  return a.every((x, i) => {
    const y = b[i]!;
    if (Object.is(x, y) || (x !== x && y !== y)) return true;
    // A result below the normal range may be flushed.
    if (Math.abs(x) < 2 ** -125 && Math.abs(y) < 2 ** -125 && c.resultType === "f32") return true;
    return Math.abs(x - y) <= Math.max((bound.relative ?? 0) * Math.abs(y), bound.absolute ?? 0);
  });
}

function differences(c: FixtureCase, ours: readonly Uint8Array[], theirs: readonly Uint8Array[]): string[] {
  const input = c.args.find((arg) => arg.in !== undefined)?.in;
  return ours.flatMap((bytes, o) => {
    if (c.module !== "instructions") {
      const at = bytes.findIndex((byte, i) => byte !== theirs[o]![i]);
      return at < 0 ? [] : [`${c.name}, output ${o} differs from byte ${at} of ${bytes.length}`];
    }
    const [a, b] = [words(bytes), words(theirs[o]!)];
    return Array.from(a).flatMap((word, i) => {
      const first = (input as BigUint64Array)[4 * i]!;
      const same =
        c.compare === "approximate" ? near(c, word, b[i]!, first) : sameBits(word, b[i]!, c.resultType);
      return same
        ? []
        : [
            `${c.name}, thread ${i}: ours 0x${word.toString(16)}, theirs 0x${b[i]!.toString(16)}, of 0x${first.toString(16)} 0x${(input as BigUint64Array)[4 * i + 1]!.toString(16)}`,
          ];
    });
  });
}

/** Forms that differ and stay so; each must differ, so that a line goes when its reason does. */
const openDifferences: Readonly<Record<string, string>> = {
  "fns.b32": "the differing cases have a base above 31, where behaviour is undefined (PTX ISA 9.7.1.17)",
};

const set = fixtureCases();

describe("fixtures", () => {
  if (process.env["WEFT_FIXTURES"] === "write")
    test("the cases are written for the GPU", () => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(new URL("cases.json", folder), encodeFixtures(set));
    });

  test.runIf(existsSync(answers))("the simulator gives what an H200 gives", { timeout: 120_000 }, () => {
    const { outputs } = JSON.parse(readFileSync(answers, "utf8")) as Answers;
    const modules = new Map<string, Module>();
    const wrong: string[] = [];
    let compared = 0;
    for (const c of set.cases) {
      const theirs = outputs[c.name];
      if (theirs === undefined) continue;
      const module = modules.get(c.module) ?? loadModule(set.modules[c.module]!);
      modules.set(c.module, module);
      const sample: Sample = {
        name: c.name,
        ptx: "",
        grid: c.grid,
        block: c.block,
        cluster: c.cluster,
        shared: c.shared,
        args: c.args,
        check: () => undefined,
      };
      const ours = runSample(sample, {}, "", module, c.entry).outputs;
      wrong.push(
        ...differences(
          c,
          ours,
          theirs.map((text) => new Uint8Array(Buffer.from(text, "base64"))),
        ).slice(0, 3),
      );
      compared++;
    }
    const open = Object.keys(openDifferences);
    const formOf = (line: string): string => line.split(",")[0]!;
    expect(wrong.filter((line) => !open.includes(formOf(line)))).toEqual([]);
    expect(open.filter((form) => !wrong.some((line) => formOf(line) === form))).toEqual([]);
    expect(compared).toBeGreaterThan(1000);
  });
});
