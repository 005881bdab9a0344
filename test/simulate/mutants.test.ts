/** Mutation test of the checks: each mutant of a correct kernel must show one of its symptoms within 32 seeds. */
import { expect, test } from "vitest";
import { loadModule } from "../../runtime/simulate/index.ts";
import { runSample, type Sample } from "./harness.ts";
import { mutantsOf, type Mutant, type Symptom } from "./mutants.ts";
import {
  asyncStores,
  blockSum,
  bulkRing,
  bulkRoundTrip,
  copyPipeline,
  gemmRing,
  lastBlock,
  multicastRing,
  namedBarriers,
  remoteStores,
  wgmmaTile,
} from "./kernels.mjs";

const seeds = 32;

const samples = [
  blockSum(),
  namedBarriers(),
  copyPipeline(),
  lastBlock(),
  bulkRing(),
  bulkRoundTrip(),
  multicastRing(),
  remoteStores(),
  asyncStores(),
  gemmRing(4),
  wgmmaTile({ span: 0 }),
  wgmmaTile({ span: 32 }),
  wgmmaTile({ span: 64 }),
  wgmmaTile({ span: 128 }),
  wgmmaTile({ span: 128, major: "mn" }),
  wgmmaTile({ span: 64, major: "mn" }),
  wgmmaTile({ type: "e4m3", registersA: true, n: 24 }),
] as Sample[];

/** Mutants that are no faults, by the start of their names, and why. */
const equivalent: readonly (readonly [string, string])[] = [
  [
    "copy-pipeline delete-barrier 67",
    "mma.sync.aligned already brings the lanes together between the loads and the copy that overwrites them",
  ],
  ["bulk-round-trip wrong-barrier", "each of its named barriers has one place, so any free number serves"],
  ["gemm-ring wrong-barrier", "barrier 1 has one place, so any free number serves"],
  [
    "multicast-ring delete-barrier 94",
    "the bar.warp.sync before the last cluster barrier orders nothing that is left to do",
  ],
  [
    "multicast-ring relax-cluster-arrive 32",
    "fence.mbarrier_init.release.cluster before it makes a relaxed arrival enough",
  ],
  [
    "multicast-ring relax-cluster-arrive 95",
    "the last cluster barrier only keeps shared memory alive; it publishes nothing",
  ],
  [
    "async-stores relax-cluster-arrive 28",
    "fence.mbarrier_init.release.cluster before it makes a relaxed arrival enough",
  ],
  [
    "async-stores relax-cluster-arrive 44",
    "the last cluster barrier only keeps shared memory alive; it publishes nothing",
  ],
];

const isEquivalent = (mutant: Mutant): boolean => equivalent.some(([name]) => mutant.name.startsWith(name));

/** What a mutant shows under one seed. */
function symptomsOf(
  { sample, ptx }: Mutant,
  seed: number,
  module: ReturnType<typeof loadModule>,
): Set<Symptom> {
  const { report, outputs } = runSample(sample, { seed, maxSteps: 200_000 }, ptx, module);
  const shown = new Set<Symptom>(report.findings.map((finding) => finding.code));
  try {
    sample.check(outputs);
  } catch {
    shown.add("result");
  }
  return shown;
}

interface Outcome {
  readonly mutant: Mutant;
  /** The seed that showed a symptom, or undefined. */
  readonly seed: number | undefined;
  readonly others: readonly Symptom[];
}

function tryMutant(mutant: Mutant): Outcome {
  const others = new Set<Symptom>();
  const module = loadModule(mutant.ptx);
  for (let seed = 0; seed < seeds; seed++) {
    const shown = symptomsOf(mutant, seed, module);
    if (mutant.symptoms.some((symptom) => shown.has(symptom))) return { mutant, seed, others: [] };
    for (const symptom of shown) others.add(symptom);
  }
  return { mutant, seed: undefined, others: [...others] };
}

test("98 of 100 mutants show the symptom that they should", { timeout: 170_000 }, () => {
  const all = samples.flatMap(mutantsOf);
  const faults = all.filter((mutant) => !isEquivalent(mutant));
  const outcomes = faults.map(tryMutant);
  const missed = outcomes.filter((outcome) => outcome.seed === undefined);
  const atOnce = outcomes.filter((outcome) => outcome.seed === 0).length;
  console.log(
    `${faults.length} mutants, ${faults.length - missed.length} caught, ${atOnce} of them under seed 0, ${all.length - faults.length} equivalent`,
  );
  for (const { mutant, others } of missed)
    console.log(`missed: ${mutant.name}${others.length === 0 ? "" : ` (showed ${others.join(", ")})`}`);
  const idle = equivalent.filter(([name]) => !all.some((mutant) => mutant.name.startsWith(name)));
  expect(idle).toEqual([]);
  for (const mutant of all.filter(isEquivalent))
    expect([mutant.name, tryMutant(mutant).seed]).toEqual([mutant.name, undefined]);
  expect(faults.length).toBeGreaterThanOrEqual(200);
  expect((faults.length - missed.length) / faults.length).toBeGreaterThanOrEqual(0.98);
});
