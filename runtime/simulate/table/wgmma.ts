/** Warpgroup matrix products (PTX ISA 9.7.15). */
import { SimulateError } from "../finding.ts";
import { registersOf, type Register, type Site } from "../compile/site.ts";
import { bindRead, bindRead64 } from "../machine/address.ts";
import {
  commit,
  dropGroups,
  finish,
  issue,
  learn,
  newAgent,
  waitGroups,
  type AsyncOperation,
} from "../machine/async.ts";
import { findAt, warpName } from "../machine/findings.ts";
import { append, wasAsync, wasAsyncProxy } from "../machine/journal.ts";
import { advance } from "../machine/sync.ts";
import {
  checkDescriptor,
  checkOperand,
  decodeDescriptor,
  readOperand,
  type Descriptor,
  type OperandShape,
} from "../machine/wgmma.ts";
import { checkHazards, wgmmaRegisters } from "../machine/wgmma-registers.ts";
import type { Warp } from "../machine/warp.ts";
import { popc32 } from "../numeric/bits.ts";
import { exactDot, makeFactors, type Dot } from "../numeric/accumulate.ts";
import { checkAligned } from "./barrier.ts";
import {
  basesOf,
  clampS32,
  elementTypes,
  gatherFragment,
  groupDot,
  prepare,
  readAccumulator,
  writeAccumulator,
  type ElementType,
} from "./fragments.ts";
import type { Step, WarpRow } from "./row.ts";

interface Plan {
  readonly site: Site;
  readonly n: number;
  readonly k: number;
  readonly D: readonly number[];
  readonly A: readonly number[] | undefined;
  readonly aShape: OperandShape;
  readonly bShape: OperandShape;
  readonly result: string;
  readonly signA: number;
  readonly signB: number;
  readonly saturate: boolean;
  readonly bits: boolean;
  readonly typeA: ElementType;
  readonly typeB: ElementType;
  readonly dot: Dot;
}

function constantAt(site: Site, i: number): number {
  const value = site.operands[i];
  if (value?.kind !== "integer")
    throw new SimulateError(
      `${site.instruction.text}: operand ${i + 1} must be a constant`,
      site.instruction.line,
    );
  return Number(value.value);
}

/** Single bits travel as words of 32. */
const word: ElementType = { bits: 32, decode: (x) => x };

const bitDot: Dot = (x, i, y, j, k, c) => {
  let sum = c;
  for (let p = 0; p < k; p++) sum += popc32((x.values[i + p]! & y.values[j + p]!) >>> 0);
  return sum;
};

function makePlan(site: Site): Plan {
  const { n, k, dt, at, bt, satfinite, op } = site.choices;
  const [d, a] = site.operands;
  const columns = Number(n!.slice(4));
  const depth = Number(k!.slice(1));
  const registersA = a?.kind === "vector" ? basesOf(site, a) : undefined;
  const bits = op !== undefined;
  const sixteen = at === "f16" || at === "bf16";
  const floats = !bits && !/^[su]8$/.test(at!);
  // d, a, b, scale-d, then for floats imm-scale-a and imm-scale-b, then for 16-bit types the transposes: of A only from memory.
  const counts = 4 + (floats ? 2 : 0) + (sixteen ? (registersA === undefined ? 2 : 1) : 0);
  if (site.operands.length !== counts)
    throw new SimulateError(
      `${site.instruction.text}: ${site.operands.length} operands where ${counts} belong`,
      site.instruction.line,
    );
  const transA = sixteen && registersA === undefined ? constantAt(site, 6) : 0;
  const transB = sixteen ? constantAt(site, counts - 1) : 0;
  const D = basesOf(site, d);
  const expected = dt === "f16" ? columns / 4 : columns / 2;
  if (D.length !== expected)
    throw new SimulateError(
      `${site.instruction.text}: ${D.length} registers for d, which takes ${expected}`,
      site.instruction.line,
    );
  if (registersA !== undefined && registersA.length !== 4)
    throw new SimulateError(
      `${site.instruction.text}: ${registersA.length} registers for a, which takes 4`,
      site.instruction.line,
    );
  const typeA = bits ? word : elementTypes[at!]!;
  const typeB = bits ? word : elementTypes[bt!]!;
  const steps = bits ? depth / 32 : depth;
  return {
    site,
    n: columns,
    k: steps,
    D,
    A: registersA,
    aShape: { extent: 64, k: steps, bytes: typeA.bits / 8, mnMajor: transA === 1 },
    bShape: { extent: columns, k: steps, bytes: typeB.bits / 8, mnMajor: transB === 1 },
    result: dt!,
    signA: floats ? constantAt(site, 4) : 1,
    signB: floats ? constantAt(site, 5) : 1,
    saturate: satfinite !== undefined,
    bits,
    typeA,
    typeB,
    dot: bits ? bitDot : groupDot(at!, dt!),
  };
}

const a = makeFactors(16 * 32);
const b = makeFactors(256 * 32);

/** Rows 16 q to 16 q + 15 of the product, where q is the warp's place in its warpgroup. */
function multiply(w: Warp, plan: Plan, da: Descriptor | undefined, db: Descriptor, scaleD: boolean): void {
  const { n, k, signA, signB, typeA, typeB, D, result } = plan;
  const quarter = 16 * (w.index & 3);
  if (da === undefined) gatherFragment(w, plan.A!, typeA, 2, k, a.values);
  else readOperand(w.block.shared, da, plan.aShape, quarter, 16, typeA.decode, a.values);
  readOperand(w.block.shared, db, plan.bShape, 0, n, typeB.decode, b.values);
  if (signA * signB < 0) for (let i = 0; i < 16 * k; i++) a.values[i] = -a.values[i]!;
  prepare(a, typeA, 16 * k);
  prepare(b, typeB, n * k);
  const exact = plan.aShape.bytes === 1 && w.machine.options.fp8Accumulate === "exact";
  const dot = exact ? exactDot : plan.dot;
  for (let lane = 0; lane < 32; lane++) {
    for (let i = 0; i < n / 2; i++) {
      const row = (lane >> 2) + 8 * ((i >> 1) & 1);
      const column = (i >> 2) * 8 + (lane & 3) * 2 + (i & 1);
      const before = scaleD ? readAccumulator(w, D, result, i, lane) : 0;
      const sum = dot(a, row * k, b, column * k, k, before);
      writeAccumulator(w, D, result, i, lane, plan.saturate ? clampS32(sum) : sum);
    }
  }
}

function bitSet(registers: readonly Register[], count: number): Int32Array {
  const set = new Int32Array(Math.ceil(count / 32));
  for (const { id } of registers) set[id >> 5] = set[id >> 5]! | (1 << (id & 31));
  return set;
}

/** All lanes must agree on a descriptor. */
function uniform(
  w: Warp,
  site: Site,
  mask: number,
  read: (w: Warp, lane: number) => bigint,
  name: string,
): bigint {
  const first = read(w, 0);
  for (let l = 1; l < 32; l++) {
    if ((mask >>> l) & 1 && read(w, l) !== first) {
      findAt(
        w,
        1 << l,
        site.id,
        "wgmma-misuse",
        `the descriptor of ${name} differs between the lanes of the warp`,
      );
      return first;
    }
  }
  return first;
}

/** The warps of a warpgroup execute the same wgmma instructions on the same descriptors. */
function agree(w: Warp, site: Site, text: string): void {
  const group = w.index >> 2;
  const log = w.block.wgmmaLog.get(group) ?? [];
  w.block.wgmmaLog.set(group, log);
  const at = w.async.wgmma.issued++;
  const entry = `${site.id} ${text}`;
  if (log[at] === undefined) log[at] = entry;
  else if (log[at] !== entry)
    findAt(
      w,
      -1,
      site.id,
      "wgmma-misuse",
      `the warps of warpgroup ${group} do not issue the same wgmma: instruction and descriptors ${log[at]} against ${entry}`,
    );
}

function bindProduct(site: Site): Step {
  const plan = makePlan(site);
  const [d, operandA, operandB, scale] = site.operands;
  const readA = plan.A === undefined ? bindRead64(site, operandA) : undefined;
  const readB = bindRead64(site, operandB);
  const scaleOf = bindRead(site, scale);
  const shape = `${plan.n} ${plan.result}`;
  let sets: { readonly D: Int32Array; readonly A: Int32Array } | undefined;
  return (w, mask) => {
    checkAligned(w, mask, site);
    const count = w.block.grid.kernel.registers.length;
    sets ??= {
      D: bitSet(registersOf(d), count),
      A: bitSet(plan.A === undefined ? [] : registersOf(operandA), count),
    };
    const bitsB = uniform(w, site, mask, readB, "B");
    const bitsA = readA === undefined ? undefined : uniform(w, site, mask, readA, "A");
    const db = decodeDescriptor(w, site, bitsB, "B");
    const da = bitsA === undefined ? undefined : decodeDescriptor(w, site, bitsA, "A");
    const scaleD = (scaleOf(w, 0) & 1) === 1;
    agree(w, site, `${bitsA?.toString(16) ?? "registers"} ${bitsB.toString(16)}`);
    checkHazards(w, site, sets.D, sets.A, shape);
    const { wgmma } = w.async;
    if (wgmma.agent < 0) wgmma.agent = newAgent(w, () => `wgmma issued by ${warpName(w)}`);
    const flags = wasAsync | wasAsyncProxy;
    const record = append(w.machine.journal, {
      realm: w.vector.realm.id,
      agent: wgmma.agent,
      time: wgmma.time,
      site: (w.block.grid.number << 16) | site.id,
      flags,
    });
    checkDescriptor(w, site, db, plan.bShape, "B");
    let valid = checkOperand(w, site, db, plan.bShape, 0, plan.n, record, flags);
    if (da !== undefined) {
      checkDescriptor(w, site, da, plan.aShape, "A");
      valid = checkOperand(w, site, da, plan.aShape, 16 * (w.index & 3), 16, record, flags) && valid;
    }
    const state = wgmmaRegisters(w);
    state.held.push({ set: sets.D, site: site.id, group: wgmma.time, shape });
    if (plan.A !== undefined) state.held.push({ set: sets.A, site: site.id, group: wgmma.time, shape: "A" });
    const queue = w.async.wgmmaQueue;
    const operation: AsyncOperation = {
      done: false,
      site: site.id,
      needed: () => true,
      complete: () => {
        // The products of a warp happen in the order of their issue.
        while (queue[0] !== operation) finish(w.machine, queue[0]!);
        queue.shift();
        if (valid) multiply(w, plan, da, db, scaleD);
      },
    };
    queue.push(operation);
    issue(w.machine, operation);
    wgmma.open.push({ operation, mask: -1 });
  };
}

function bindWait(site: Site): Step {
  const keep = constantAt(site, 0);
  return (w, mask) => {
    checkAligned(w, mask, site);
    const { wgmma } = w.async;
    const time = waitGroups(w.machine, wgmma, -1, keep);
    dropGroups(wgmma, -1, time);
    learn(w, wgmma.agent, time);
    const state = wgmmaRegisters(w);
    if (time > 0) state.held = state.held.filter((held) => held.group > time);
    advance(w);
  };
}

function bindFence(site: Site): Step {
  return (w, mask) => {
    checkAligned(w, mask, site);
    const state = wgmmaRegisters(w);
    state.fenced = true;
    state.dirty.fill(0);
  };
}

function bindCommit(site: Site): Step {
  return (w, mask) => {
    checkAligned(w, mask, site);
    commit(w.async.wgmma, -1);
  };
}

const section = "9.7.15.5";
const widths = `n:${Array.from({ length: 32 }, (_, i) => `m64n${8 * (i + 1)}`).join("|")}`;
/** The shape is one word of the opcode, m64nNkK; the table spells it per k. */
const shapeOf = (k: number): string => widths.replace(/(m64n\d+)/g, `$1k${k}`);

function product(k: number, tail: string): WarpRow {
  return {
    pattern: `wgmma.mma_async.sync.aligned.${shapeOf(k)}.${tail}`,
    section,
    writes: [0],
    alone: true,
    bind: (site) =>
      bindProduct({
        ...site,
        choices: { ...site.choices, n: site.choices["n"]!.replace(/k\d+$/, ""), k: `k${k}` },
      }),
  };
}

const steps: readonly WarpRow[] = (
  [
    ["wgmma.fence.sync.aligned", "9.7.15.7.1", bindFence],
    ["wgmma.commit_group.sync.aligned", "9.7.15.7.2", bindCommit],
    ["wgmma.wait_group.sync.aligned", "9.7.15.7.3", bindWait],
  ] as const
).map(([pattern, part, bind]) => ({ pattern, section: part, writes: [], alone: true, bind }));

export const wgmmaRows: readonly WarpRow[] = [
  product(16, "dt:f16|f32.at:f16.bt:f16"),
  product(16, "dt:f32.at:bf16.bt:bf16"),
  product(8, "dt:f32.at:tf32.bt:tf32"),
  product(32, "dt:f16|f32.at:e4m3|e5m2.bt:e4m3|e5m2"),
  product(32, "satfinite?satfinite.dt:s32.at:s8|u8.bt:s8|u8"),
  product(256, "dt:s32.at:b1.bt:b1.op:and.popc"),
  ...steps,
];
