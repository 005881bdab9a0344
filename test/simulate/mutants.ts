/** Breaks correct kernels in one place each, as a compiler's mistake would, and says which checks must notice. */
import type { FindingCode } from "../../runtime/simulate/index.ts";
import type { Sample } from "./harness.ts";

/** "result" stands for a wrong value in the output. */
export type Symptom = FindingCode | "result";

export interface Mutant {
  /** "kernel operator line". */
  readonly name: string;
  readonly sample: Sample;
  readonly ptx: string;
  readonly symptoms: readonly Symptom[];
}

interface Operator {
  readonly name: string;
  /** What a line becomes: undefined where the operator does not apply, "" to delete it. */
  readonly change: (line: string, next: string) => string | undefined;
  /** Whether the line after it goes too. */
  readonly takesNext?: boolean;
  readonly symptoms: readonly Symptom[];
}

const memory: readonly Symptom[] = [
  "race",
  "uninitialised-read",
  "read-before-arrival",
  "refill-before-release",
  "missing-proxy-fence",
];
const sync: readonly Symptom[] = [
  ...memory,
  "mbarrier-misuse",
  "barrier-misuse",
  "deadlock",
  "transaction-mismatch",
];
const anywhere: readonly Symptom[] = [
  ...sync,
  "misaligned",
  "out-of-bounds",
  "descriptor",
  "cluster-misuse",
  "unfinished-async",
  "result",
];

const remove =
  (pattern: RegExp) =>
  (line: string): string | undefined =>
    pattern.test(line) ? "" : undefined;

const replace =
  (pattern: RegExp, by: (...groups: string[]) => string) =>
  (line: string): string | undefined => {
    const changed = line.replace(pattern, (...match) => by(...(match as string[])));
    return changed === line ? undefined : changed;
  };

const more = (by: number) => (_: string, head: string, number: string, tail: string) =>
  `${head}${Number(number) + by}${tail}`;

export const operators: readonly Operator[] = [
  { name: "delete-barrier", change: remove(/\bbar\.(sync|arrive|warp\.sync) /), symptoms: sync },
  {
    name: "delete-cluster-arrive",
    change: remove(/barrier\.cluster\.arrive/),
    symptoms: [...sync, "cluster-misuse"],
  },
  {
    name: "delete-cluster-wait",
    change: remove(/barrier\.cluster\.wait/),
    symptoms: [...sync, "cluster-misuse", "unfinished-async"],
  },
  {
    name: "relax-cluster-arrive",
    change: replace(/barrier\.cluster\.arrive\.release/, () => "barrier.cluster.arrive.relaxed"),
    symptoms: memory,
  },
  {
    name: "delete-proxy-fence",
    change: remove(/fence\.(proxy|mbarrier_init)/),
    symptoms: ["missing-proxy-fence", "race"],
  },
  { name: "delete-memory-fence", change: remove(/fence\.acq_rel/), symptoms: ["race"] },
  { name: "delete-wgmma-fence", change: remove(/wgmma\.fence/), symptoms: ["wgmma-missing-fence"] },
  {
    name: "delete-wgmma-wait",
    change: remove(/wgmma\.wait_group/),
    symptoms: ["wgmma-register-hazard", "refill-before-release", "unfinished-async"],
  },
  {
    name: "weaken-wgmma-wait",
    change: replace(/wgmma\.wait_group\.sync\.aligned 0/, () => "wgmma.wait_group.sync.aligned 1"),
    symptoms: ["wgmma-register-hazard", "refill-before-release", "unfinished-async"],
  },
  {
    name: "delete-wgmma-commit",
    change: remove(/wgmma\.commit_group/),
    symptoms: ["wgmma-register-hazard", "refill-before-release", "unfinished-async"],
  },
  { name: "delete-copy-wait", change: remove(/cp\.async\.wait_group/), symptoms: memory },
  { name: "weaken-copy-wait", change: replace(/(cp\.async\.wait_group )(\d)()/, more(1)), symptoms: memory },
  { name: "delete-copy-commit", change: remove(/cp\.async\.commit_group/), symptoms: memory },
  {
    name: "delete-bulk-wait",
    change: remove(/cp\.async\.bulk\.wait_group/),
    symptoms: ["unfinished-async", "refill-before-release"],
  },
  {
    name: "delete-bulk-commit",
    change: remove(/cp\.async\.bulk\.commit_group/),
    symptoms: ["unfinished-async", "refill-before-release"],
  },
  {
    name: "delete-mbarrier-wait",
    change: remove(/mbarrier\.try_wait/),
    takesNext: true,
    symptoms: [...sync, "unfinished-async"],
  },
  { name: "ignore-mbarrier-wait", change: remove(/@!pw bra/), symptoms: [...sync, "unfinished-async"] },
  {
    name: "flip-parity",
    change: replace(/(mbarrier\.try_wait.*), 0;/, (_, head) => `${head}, 1;`),
    symptoms: [...sync, "unfinished-async"],
  },
  {
    name: "flip-phase",
    change: replace(/(mov\.u32 phase, )([01]);/, (_, head, phase) => `${head}${1 - Number(phase)};`),
    symptoms: [...sync, "unfinished-async"],
  },
  { name: "freeze-phase", change: remove(/xor\.b32 phase/), symptoms: [...sync, "unfinished-async"] },
  {
    name: "delete-arrive",
    change: remove(/mbarrier\.arrive\.(?!expect_tx)/),
    symptoms: ["deadlock", "livelock"],
  },
  {
    name: "delete-expect",
    change: replace(/mbarrier\.arrive\.expect_tx(.*), \d+;/, (_, tail) => `mbarrier.arrive${tail};`),
    symptoms: ["transaction-mismatch", "deadlock", "read-before-arrival", "mbarrier-misuse"],
  },
  {
    name: "expect-more",
    change: replace(/(expect_tx.*, )(\d+)(;)/, more(16)),
    symptoms: ["transaction-mismatch", "deadlock"],
  },
  {
    name: "expect-less",
    change: replace(/(expect_tx.*, )(\d+)(;)/, more(-16)),
    symptoms: ["transaction-mismatch", "deadlock", "read-before-arrival"],
  },
  { name: "delete-init", change: remove(/mbarrier\.init\./), symptoms: ["mbarrier-misuse"] },
  {
    name: "init-more",
    change: replace(/(mbarrier\.init.*\], )(\d+)(;)/, more(1)),
    symptoms: ["deadlock", "transaction-mismatch"],
  },
  { name: "init-less", change: replace(/(mbarrier\.init.*\], )([2-9])(;)/, more(-1)), symptoms: [...sync] },
  {
    name: "delete-bulk-copy",
    change: remove(/cp\.(reduce\.)?async\.bulk\.(tensor\.\dd\.)?(shared|global)/),
    symptoms: anywhere,
  },
  {
    name: "shift-copy-target",
    change: replace(
      /(cp\.(?:reduce\.)?async\.bulk\.(?:tensor\.\dd\.)?shared::cluster\S* \[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 128}]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "misalign-copy-target",
    change: replace(
      /(cp\.(?:reduce\.)?async\.bulk\.(?:tensor\.\dd\.)?shared::cluster\S* \[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 8}]`,
    ),
    symptoms: ["misaligned", "out-of-bounds"],
  },
  {
    name: "shift-copy-source",
    change: replace(/(cp\.async\.bulk\.shared::cluster\S* \[\w+\], \[\w+)\]/, (_, head) => `${head}+16]`),
    symptoms: [...anywhere],
  },
  {
    name: "shift-copy-size",
    change: replace(/(cp\.async\.bulk\.shared::cluster\S* \[\w+\], \[\w+\], )(\d+)(,)/, more(16)),
    symptoms: anywhere,
  },
  {
    name: "shift-copy-barrier",
    change: replace(/(cp\.async\.bulk\.\S+ .*, \[(?:full|bar))\]/, (_, head) => `${head}+8]`),
    symptoms: anywhere,
  },
  {
    name: "shift-store-source",
    change: replace(
      /(cp\.(?:reduce\.)?async\.bulk\.(?:tensor\.\dd\.)?global\S* .*\[r\d+)\]/,
      (_, head) => `${head}+128]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "shift-shared-load",
    change: replace(
      /(ld\.shared\S* [\w, {}]+, \[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 4}]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "shift-shared-store",
    change: replace(
      /(st\.shared\S* \[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 4}]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "shift-matrix-row",
    change: replace(
      /(ldmatrix.*\[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 16}]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "shift-global",
    change: replace(
      /((?:ld|st)\.global\S* .*\[?\[\w+)(?:\+(\d+))?\]/,
      (_, head, offset) => `${head}+${Number(offset ?? 0) + 4}]`,
    ),
    symptoms: anywhere,
  },
  {
    name: "shift-arrive",
    change: replace(/(mbarrier\.arrive.*\[(?:full|empty|bar))\]/, (_, head) => `${head}+8]`),
    symptoms: anywhere,
  },
  {
    name: "shift-descriptor",
    change: replace(/(add\.u64 d[23]\d, d[23]\d, )(\d+)(;)/, more(1)),
    symptoms: anywhere,
  },
  {
    name: "turn-descriptor",
    change: replace(
      /(or\.b64 d2\d, d2\d, 0x)([0-9a-f]+);/,
      (_, head, bits) => `${head}${(BigInt(`0x${bits}`) ^ (1n << 62n)).toString(16)};`,
    ),
    symptoms: ["descriptor", "result", "out-of-bounds", "uninitialised-read"],
  },
  {
    name: "stretch-descriptor",
    change: replace(
      /(or\.b64 d2\d, d2\d, 0x)([0-9a-f]+);/,
      (_, head, bits) => `${head}${(BigInt(`0x${bits}`) + (8n << 32n)).toString(16)};`,
    ),
    symptoms: ["descriptor", "result", "out-of-bounds", "uninitialised-read"],
  },
  {
    name: "wrong-barrier",
    change: replace(/(bar\.(?:sync|arrive) )([12])(, \d+;)/, more(4)),
    symptoms: sync,
  },
  {
    name: "wrong-count",
    change: replace(/(bar\.(?:sync|arrive) \d, )(\d+)(;)/, more(32)),
    symptoms: ["deadlock", "barrier-misuse", "race"],
  },
  {
    name: "narrow-multicast",
    change: replace(/mov\.b16 h0, 3;/, () => "mov.b16 h0, 1;"),
    symptoms: ["deadlock", "transaction-mismatch"],
  },
  {
    name: "wide-multicast",
    change: replace(/mov\.b16 h0, 3;/, () => "mov.b16 h0, 7;"),
    symptoms: ["cluster-misuse"],
  },
  {
    name: "wrong-rank",
    change: replace(/(mapa.*, )(r\d+|lane);/, (_, head) => `${head}0;`),
    symptoms: anywhere,
  },
];

/** A line of the text replaced, with the one after it where the operator takes both. */
function apply(sample: Sample, operator: Operator): Mutant[] {
  const lines = sample.ptx.split("\n");
  return lines.flatMap((line, i) => {
    if (/^\s*(\.|\/\/|\{|\})/.test(line)) return [];
    const changed = operator.change(line, lines[i + 1] ?? "");
    if (changed === undefined) return [];
    // A label before a deleted instruction stays.
    const label = /^\s*\w+:/.exec(line)?.[0] ?? "";
    const kept = changed === "" ? label : changed;
    const ptx = [...lines.slice(0, i), kept, ...lines.slice(i + (operator.takesNext === true ? 2 : 1))].join(
      "\n",
    );
    return [{ name: `${sample.name} ${operator.name} ${i + 1}`, sample, ptx, symptoms: operator.symptoms }];
  });
}

/** Another swizzle in a tensor map than the one that the kernel reads with. */
function swapSwizzles(sample: Sample): Mutant[] {
  return sample.args.flatMap((arg, i) => {
    if (arg.map === undefined || arg.unused === true) return [];
    const inner = arg.map.box[0]! * (arg.map.strides[0]! / arg.map.dims[0]!);
    const others = ([0, 32, 64, 128] as const).filter(
      (span) => span !== arg.map!.swizzle && (span === 0 || inner <= span),
    );
    return others.map((swizzle) => ({
      name: `${sample.name} swap-swizzle argument ${i} to ${swizzle}`,
      sample: {
        ...sample,
        args: sample.args.map((a, j) => (j === i ? { map: { ...arg.map!, swizzle } } : a)),
      },
      ptx: sample.ptx,
      symptoms: ["result", "misaligned", "descriptor"] as const,
    }));
  });
}

export function mutantsOf(sample: Sample): Mutant[] {
  return [...operators.flatMap((operator) => apply(sample, operator)), ...swapSwizzles(sample)];
}
