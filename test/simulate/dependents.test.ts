/** Launches that begin before the one ahead of them has ended: `griddepcontrol`, and what goes wrong without it. */
import { describe, expect, test } from "vitest";
import {
  createDevice,
  launchAll,
  loadModule,
  type Report,
  type SimulateOptions,
} from "../../runtime/simulate/index.ts";
import { codes, codesOverSeeds, kernel, pointer } from "./harness.ts";

const blocks = 4;
const words = 32 * blocks;

/** out[i] = in[i] + `add`; `early` before anything is touched, `late` after the store. */
const addKernel = (add: number, early: string, late: string): string =>
  kernel(`
  ${early}
  mad.lo.u32 r0, block, 32, tid;
  mul.wide.u32 d0, r0, 4;
  add.u64 d1, in, d0;
  add.u64 d2, out, d0;
  ld.global.u32 r1, [d1];
  add.u32 r1, r1, ${add};
  st.global.u32 [d2], r1;
  ${late}`);

interface Chain {
  readonly kernels: readonly string[];
  /** Of which buffer each kernel reads, and which it writes. */
  readonly buffers: readonly (readonly [number, number])[];
}

function runChain(
  { kernels, buffers }: Chain,
  options: SimulateOptions,
): { readonly report: Report; readonly outputs: readonly (readonly number[])[] } {
  const device = createDevice();
  const memory = [0, 1, 2, 3].map((k) => device.alloc(4 * words, `buffer ${k}`));
  for (const buffer of memory)
    device.write(
      buffer,
      Uint32Array.from({ length: words }, (_, i) => i),
    );
  const report = launchAll(
    kernels.map((ptx, k) => {
      const [from, to] = buffers[k]!;
      return {
        module: loadModule(ptx),
        kernel: "test",
        device,
        grid: [blocks, 1, 1] as const,
        block: [32, 1, 1] as const,
        args: [pointer(memory[from]!), pointer(memory[to]!)],
        dependent: k > 0,
      };
    }),
    options,
  );
  return { report, outputs: memory.map((buffer) => [...new Uint32Array(device.read(buffer).buffer)]) };
}

const wait = "griddepcontrol.wait;";
const go = "griddepcontrol.launch_dependents;";
const seeds = 12;
const over = (chain: Chain): Set<string> => codesOverSeeds(seeds, (seed) => runChain(chain, { seed }).report);
const counting = (add: number): number[] => Array.from({ length: words }, (_, i) => i + add);
const there = [
  [0, 1],
  [1, 2],
  [2, 3],
] as const;

describe("griddepcontrol", () => {
  test("a chain whose kernels wait gives what one after the other gives", () => {
    for (const early of ["", go]) {
      const chain = {
        kernels: [addKernel(1, early, ""), addKernel(10, `${early}${wait}`, ""), addKernel(100, wait, early)],
        buffers: there,
      };
      for (let seed = 0; seed < seeds; seed++) {
        const { report, outputs } = runChain(chain, { seed });
        expect(codes(report)).toEqual([]);
        expect(outputs.slice(1)).toEqual([counting(1), counting(11), counting(111)]);
      }
    }
  });

  test("without the wait, reading what the one ahead writes is a race, however late it began", () => {
    for (const early of ["", go]) {
      const chain = { kernels: [addKernel(1, early, ""), addKernel(10, "", "")], buffers: there };
      expect([...over(chain)]).toEqual(["race"]);
    }
  });

  test("a dependent that begins early can read old values", () => {
    const slowly = `${go}${"bar.sync 0;".repeat(8)}`;
    const chain = { kernels: [addKernel(1, slowly, ""), addKernel(10, "", "")], buffers: there };
    const seen = new Set<number>();
    for (let seed = 0; seed < 3 * seeds; seed++)
      runChain(chain, { seed }).outputs[2]!.forEach((value, i) => seen.add(value - i));
    expect([...seen].sort()).toEqual([10, 11]);
  });

  test("so is writing what the one ahead may still read", () => {
    const over0 = [
      [0, 1],
      [2, 0],
    ] as const;
    const kernels = (second: string): string[] => [addKernel(1, go, ""), addKernel(10, second, "")];
    expect([...over({ kernels: kernels(""), buffers: over0 })]).toEqual(["race"]);
    expect([...over({ kernels: kernels(wait), buffers: over0 })]).toEqual([]);
  });

  test("a wait reaches beyond the one ahead only if that one waited", () => {
    const far = [
      [0, 1],
      [2, 3],
      [1, 2],
    ] as const;
    const chain = (second: string): Chain => ({
      kernels: [addKernel(1, go, ""), addKernel(10, `${go}${second}`, ""), addKernel(100, wait, "")],
      buffers: far,
    });
    expect([...over(chain(""))]).toEqual(["race"]);
    expect([...over(chain(wait))]).toEqual([]);
  });

  test("a launch without the attribute has nobody to wait for", () => {
    const chain = { kernels: [addKernel(1, wait, go)], buffers: there };
    expect([...over(chain)]).toEqual([]);
  });

  test("a trap ahead ends those that depend on it", () => {
    const chain = { kernels: [addKernel(1, go, "trap;"), addKernel(10, wait, "")], buffers: there };
    expect([...over(chain)]).toEqual(["trap"]);
  });
});
