/**
 * Programs that round to 8-bit floats give one and the same code everywhere: as JavaScript, as WGSL on Dawn and on wgpu,
 * and as PTX on the simulator, whose `cvt` was held against an H200's. The codes are those of a table that is made here by
 * the formats' definition: every code, every f16 and bf16, and of f32 every value, every tie, and their neighbours. So do
 * those that round to floats of other bits, kept as the f16 or bf16 of the same value.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile } from "../../compiler/index.ts";
import { openDevice, type Device, type HostTensor } from "../../runtime/index.ts";
import { openSimulator } from "../../runtime/simulate/plan-device.ts";
import { testHost } from "../check/host.ts";
import { deviceOf } from "../device/gpu-device.ts";
import { openDawn, openWgpu } from "../targets/wgsl/gpu.ts";

type Small = "e4m3" | "e5m2";
type Custom = keyof typeof custom;

/** The f16 or bf16 that the values are kept as; the largest code is the one below that of infinity. */
const custom = {
  e5m6: { exponent: 5, mantissa: 6, largest: 31 * 64 - 1, kept: "f16" },
  e4m5: { exponent: 4, mantissa: 5, largest: 15 * 32 - 1, kept: "f16" },
  e6m7: { exponent: 6, mantissa: 7, largest: 63 * 128 - 1, kept: "bf16" },
  e8m3: { exponent: 8, mantissa: 3, largest: 255 * 8 - 1, kept: "bf16" },
} as const;

const formats = {
  e4m3: { exponent: 4, mantissa: 3, largest: 0x7e, nan: 0x7f },
  e5m2: { exponent: 5, mantissa: 2, largest: 0x7b, nan: 0x7f },
  f16: { exponent: 5, mantissa: 10, largest: 0x7bff, nan: 0x7fff },
  bf16: { exponent: 8, mantissa: 7, largest: 0x7f7f, nan: 0x7fff },
} as const;

/** Finite values that are not negative, by code: significands of each binade, from the smallest on. */
function valuesOf(format: keyof typeof formats | Custom): readonly number[] {
  const { exponent, mantissa, largest } = { ...formats, ...custom }[format];
  const steps = 2 ** mantissa;
  const bias = 2 ** (exponent - 1) - 1;
  return Array.from({ length: largest + 1 }, (_, code) => {
    const binade = Math.floor(code / steps);
    const rest = code % steps;
    return binade === 0
      ? rest * 2 ** (1 - bias - mantissa)
      : (steps + rest) * 2 ** (binade - bias - mantissa);
  });
}

const tables = { e4m3: valuesOf("e4m3"), e5m2: valuesOf("e5m2") };

/** The nearest value's code, the even one of two; the largest for what is beyond it. */
function codeOf(format: Small, x: number): number {
  if (Number.isNaN(x)) return formats[format].nan;
  return nearest(tables[format], Math.abs(x)) + (x < 0 || Object.is(x, -0) ? 128 : 0);
}

function nearest(values: readonly number[], size: number): number {
  let [low, high] = [0, values.length - 1];
  if (size >= (values[high] ?? 0)) return high;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) <= size) low = middle;
    else high = middle;
  }
  const [down, up] = [size - (values[low] ?? 0), (values[high] ?? 0) - size];
  return down < up || (down === up && low % 2 === 0) ? low : high;
}

/** What an f16 or bf16 of these bits is. */
function wide(format: "f16" | "bf16", bits: number): number {
  const size = bits % 32768;
  const sign = bits >= 32768 ? -1 : 1;
  const { largest } = formats[format];
  if (size > largest + 1) return NaN;
  return sign * (size > largest ? Infinity : (halves[format][size] ?? NaN));
}
const halves = { f16: valuesOf("f16"), bf16: valuesOf("bf16") };

const text = `
fn round<A: float, B: float>(x: A[N]) -> B[N] { for n: x[n] }
${Object.keys(custom)
  .map(
    (format) => `fn round_${format}(x: f32[N]) -> ${format}[N] { for n: x[n] }
fn read_${format}(x: ${format}[N]) -> (same: ${format}[N], f: f32[N]) { (same: ${format}(f32(x)), f: for n: x[n]) }`,
  )
  .join("\n")}
${["e5m6", "e4m5", "e6m7"]
  .map(
    (format) =>
      `fn powers_${format}(x: f32[N, 2]) -> ${format}[N, 2] @ (1, 2) ue8m0 { quantize<${format} @ (1, 2) ue8m0>(x) }`,
  )
  .join("\n")}
fn blocks(x: bf16[N, 2]) -> e4m3[N, 2] @ (1, 2) { quantize<e4m3 @ (1, 2)>(x) }
fn powers(x: f32[N, 2]) -> e4m3[N, 2] @ (1, 2) ue8m0 { quantize<e4m3 @ (1, 2) ue8m0>(x) }
`;

const opening: Readonly<Record<string, () => Promise<Device>>> = {
  JavaScript: () => openDevice("js"),
  "WGSL on Dawn": async () => deviceOf(await openDawn()),
  "WGSL on wgpu": async () => deviceOf(await openWgpu()),
  "the PTX simulator": () => openSimulator(),
};

function floats(numbers: readonly number[]): HostTensor {
  const bytes = new Uint8Array(Float32Array.from(numbers).buffer);
  return { dtype: "f32", shape: [numbers.length], bytes };
}

function bits16(bytes: Uint8Array | undefined): Uint16Array {
  return new Uint16Array((bytes ?? new Uint8Array()).slice().buffer);
}

/** A value and what is next to it in f32, with both signs. */
function around(x: number): readonly number[] {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  const bits = view.getUint32(0);
  return [bits - 1, bits, bits + 1].flatMap((pattern) => {
    view.setUint32(0, Math.max(0, pattern));
    const near = view.getFloat32(0);
    return [near, -near];
  });
}

for (const [name, open] of Object.entries(opening)) {
  describe(
    name,
    () => {
      let device: Device;
      beforeAll(async () => {
        device = await open();
      });
      afterAll(() => device.close());

      async function run(
        entry: string,
        x: HostTensor,
        dtypes: Readonly<Record<string, "f16" | "bf16" | "f32" | Small>>,
      ): Promise<ReadonlyMap<string, Uint8Array>> {
        const { artifact, diagnostics } = compile({
          source: { file: "formats.dsl", text },
          host: testHost(),
          entry,
          target: device.targets[0],
          dims: new Map(),
          dtypes: new Map(Object.entries(dtypes)),
        });
        if (artifact === undefined) throw new Error(JSON.stringify(diagnostics));
        const loaded = await device.load(artifact);
        const { outputs } = await loaded.run(new Map([["x", x]]), { keep: false, time: false });
        loaded.free();
        return new Map(
          [...outputs].map(([key, tensor]) => [key, "bytes" in tensor ? tensor.bytes : new Uint8Array()]),
        );
      }

      async function wrongCodes(
        to: Small,
        x: HostTensor,
        from: "f16" | "bf16" | "f32",
        numbers: readonly number[],
      ): Promise<unknown[]> {
        const codes = (await run("round", x, { A: from, B: to })).get("out") ?? new Uint8Array();
        expect(codes.length).toBe(numbers.length);
        return numbers.flatMap((value, i) => {
          const wanted = codeOf(to, value);
          return codes[i] === wanted ? [] : [{ value, found: codes[i], wanted }];
        });
      }

      for (const to of ["e4m3", "e5m2"] as const) {
        for (const from of ["f16", "bf16"] as const)
          test(`every ${from} to ${to}`, async () => {
            const bits = Uint16Array.from({ length: 65536 }, (_, code) => code);
            const x: HostTensor = { dtype: from, shape: [65536], bytes: new Uint8Array(bits.buffer) };
            const wrong = await wrongCodes(
              to,
              x,
              from,
              Array.from(bits, (code) => wide(from, code)),
            );
            expect(wrong.slice(0, 5)).toEqual([]);
          });

        test(`every value of ${to}, every tie and their neighbours in f32, and what is beyond, to ${to}`, async () => {
          const values = tables[to];
          const numbers = values.flatMap((value, code) => {
            const next = values[code + 1] ?? 2 * value;
            return [...around(value), ...around((value + next) / 2)];
          });
          const ends = [2 ** -149, 2 ** -127, 2 ** -126, 1e-20, 1e5, 1e30, 3.4028234663852886e38, Infinity];
          const all = [...numbers, ...ends.flatMap((x) => [x, -x]), NaN].map(Math.fround);
          expect((await wrongCodes(to, floats(all), "f32", all)).slice(0, 5)).toEqual([]);
        });

        test(`every code of ${to} to f32, f16 and bf16`, async () => {
          const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
          const x: HostTensor = { dtype: to, shape: [256], bytes: codes };
          const wanted = Array.from(codes, (code) => {
            const size = code % 128;
            const { largest } = formats[to];
            const value =
              size <= largest ? (tables[to][size] ?? 0) : to === "e5m2" && size === 0x7c ? Infinity : NaN;
            return code >= 128 ? -value : value;
          });
          const found = (await run("round", x, { A: to, B: "f32" })).get("out") ?? new Uint8Array();
          expect(Array.from(new Float32Array(found.slice().buffer))).toEqual(wanted);
          for (const B of ["f16", "bf16"] as const) {
            const bytes = (await run("round", x, { A: to, B })).get("out") ?? new Uint8Array();
            // Each is a value of both.
            expect(Array.from(new Uint16Array(bytes.slice().buffer), (bits) => wide(B, bits))).toEqual(
              wanted,
            );
          }
        });
      }

      for (const [format, { kept }] of Object.entries(custom) as [Custom, (typeof custom)[Custom]][]) {
        const values = valuesOf(format);
        const bitsOf = new Map(halves[kept].map((value, code) => [value, code]));
        /** The code of the f16 or bf16 that is the nearest value. */
        const keptOf = (x: number): number => {
          const code = bitsOf.get(values[nearest(values, Math.abs(x))] ?? NaN);
          return code === undefined || Number.isNaN(x) ? NaN : code + (x < 0 || Object.is(x, -0) ? 32768 : 0);
        };
        const isRight = (found: number | undefined, x: number): boolean =>
          Number.isNaN(x) ? Number.isNaN(wide(kept, found ?? 0)) : found === keptOf(x);

        test(`every value of ${format}, every tie and their neighbours in f32, and what is beyond, to ${format}`, async () => {
          const numbers = values.flatMap((value, code) => {
            const next = values[code + 1] ?? 2 * value - (values[code - 1] ?? 0);
            return [...around(value), ...around((value + next) / 2)];
          });
          const ends = [2 ** -149, 2 ** -127, 2 ** -126, 1e-20, 1e5, 1e30, 3.4028234663852886e38, Infinity];
          const all = [...numbers, ...ends.flatMap((x) => [x, -x]), NaN].map(Math.fround);
          const found = bits16((await run(`round_${format}`, floats(all), {})).get("out"));
          expect(found.length).toBe(all.length);
          const wrong = all.flatMap((x, i) =>
            isRight(found[i], x) ? [] : [{ x, found: found[i], wanted: keptOf(x) }],
          );
          expect([wrong.length, wrong.slice(0, 5)]).toEqual([0, []]);
        });

        test(`every code of ${format}: what it is in f32, and itself again`, async () => {
          const codes = values.flatMap((value) => [keptOf(value), keptOf(-value)]);
          const bytes = new Uint8Array(Uint16Array.from(codes).buffer);
          const out = await run(`read_${format}`, { dtype: kept, shape: [codes.length], bytes }, {});
          expect(Array.from(bits16(out.get("same")))).toEqual(codes);
          const f = new Float32Array((out.get("f") ?? new Uint8Array()).slice().buffer);
          expect(Array.from(f)).toEqual(codes.map((code) => wide(kept, code)));
        });

        // With the exponents of f32 there is nothing to scale.
        if (format !== "e8m3")
          test(`blocks of ${format} scaled by powers of two`, async () => {
            const most = values.at(-1) ?? 0;
            const tops = Array.from({ length: 60 }, (_, k) => most * 2 ** (k - 40)).flatMap((x) =>
              around(Math.fround(x)),
            );
            const numbers = [...tops.filter(Number.isFinite), 0, -0, 1e-5, 3e38]
              .flatMap((x) => [x, x / 3])
              .map(Math.fround);
            const shape = [numbers.length / 2, 2];
            const found = await run(`powers_${format}`, { ...floats(numbers), shape }, {});
            const codes = bits16(found.get("out"));
            const scales = new Float32Array((found.get("out.scale") ?? new Uint8Array()).slice().buffer);
            const wrong: unknown[] = [];
            for (let n = 0; n < numbers.length / 2; n++) {
              const [a, b] = [numbers[2 * n] ?? 0, numbers[2 * n + 1] ?? 0];
              const least = Math.fround(Math.max(Math.fround(1e-4), Math.abs(a), Math.abs(b)) / most);
              let scale = 1;
              while (scale < least) scale *= 2;
              while (scale / 2 >= least) scale /= 2;
              const isWrong = [a, b].some((v, k) => !isRight(codes[2 * n + k], Math.fround(v / scale)));
              if (scales[n] !== scale || isWrong)
                wrong.push({ a, b, scale, found: scales[n], codes: [codes[2 * n], codes[2 * n + 1]] });
            }
            expect([wrong.length, wrong.slice(0, 5)]).toEqual([0, []]);
          });
      }

      test("blocks whose largest is any bf16: their scales in f32, and the codes", async () => {
        // The other element has some exponent below, so that most blocks have their largest from the first.
        const pairs = Uint16Array.from({ length: 2 * 65536 }, (_, i) =>
          i % 2 === 0 ? i >> 1 : Math.imul(i, 40503) & 0x3fff,
        );
        const x: HostTensor = { dtype: "bf16", shape: [65536, 2], bytes: new Uint8Array(pairs.buffer) };
        const found = await run("blocks", x, {});
        const codes = found.get("out") ?? new Uint8Array();
        const scales = new Float32Array((found.get("out.scale") ?? new Uint8Array()).slice().buffer);
        const wrong: unknown[] = [];
        for (let n = 0; n < 65536; n++) {
          const [a, b] = [wide("bf16", pairs[2 * n] ?? 0), wide("bf16", pairs[2 * n + 1] ?? 0)];
          const sizes = [a, b].map(Math.abs).filter((size) => !Number.isNaN(size));
          const scale = Math.fround(Math.max(Math.fround(1e-4), ...sizes) / 448);
          const turned = Math.fround(1 / scale);
          const wanted = [a, b].map((v) => codeOf("e4m3", Math.fround(v * turned)));
          if (!Number.isFinite(scale) && Number.isFinite(a))
            throw new Error("a scale of finite numbers is finite");
          if (scales[n] !== scale || codes[2 * n] !== wanted[0] || codes[2 * n + 1] !== wanted[1])
            wrong.push({ a, b, scale, found: scales[n], codes: [codes[2 * n], codes[2 * n + 1]], wanted });
        }
        expect([wrong.length, wrong.slice(0, 5)]).toEqual([0, []]);
      });

      test("blocks scaled by powers of two: the least that holds the largest, next to each power too", async () => {
        const tops = Array.from({ length: 200 }, (_, k) => 448 * 2 ** (k - 100)).flatMap((x) =>
          around(Math.fround(x)),
        );
        const numbers = [...tops, 0, -0, 1e-5, 3e38].flatMap((x) => [x, x / 3]).map(Math.fround);
        const shape = [numbers.length / 2, 2];
        const found = await run("powers", { ...floats(numbers), shape }, {});
        const codes = found.get("out") ?? new Uint8Array();
        const scales = new Float32Array((found.get("out.scale") ?? new Uint8Array()).slice().buffer);
        const wrong: unknown[] = [];
        for (let n = 0; n < numbers.length / 2; n++) {
          const [a, b] = [numbers[2 * n] ?? 0, numbers[2 * n + 1] ?? 0];
          const least = Math.fround(Math.max(Math.fround(1e-4), Math.abs(a), Math.abs(b)) / 448);
          let scale = 1;
          while (scale < least) scale *= 2;
          while (scale / 2 >= least) scale /= 2;
          const wanted = [a, b].map((v) => codeOf("e4m3", Math.fround(v / scale)));
          if (scales[n] !== scale || codes[2 * n] !== wanted[0] || codes[2 * n + 1] !== wanted[1])
            wrong.push({ a, b, scale, found: scales[n], codes: [codes[2 * n], codes[2 * n + 1]], wanted });
        }
        expect([wrong.length, wrong.slice(0, 5)]).toEqual([0, []]);
      });
    },
    300_000,
  );
}
