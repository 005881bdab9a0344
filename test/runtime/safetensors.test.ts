import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DType } from "../../compiler/types/dtype.ts";
import { dtypes, isDType } from "../../compiler/types/dtype.ts";
import { SafetensorsError } from "../../runtime/safetensors/header.ts";
import { openSafetensorsFile, writeSafetensorsFile } from "../../runtime/safetensors/file.ts";
import { encodeSafetensors, memorySource, openSafetensors } from "../../runtime/safetensors/safetensors.ts";
import type { HostTensor } from "../../runtime/tensor/tensor.ts";
import { byteCount } from "../../runtime/tensor/tensor.ts";
import { fromNumbers, toNumbers } from "../../runtime/tensor/values.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-safetensors-"));
});
afterAll(() => rm(folder, { recursive: true }));

function fileOf(header: string | Uint8Array, dataBytes: number, claimed?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = (dtype: string, shape: string, begin: number, end: number): string =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

test("a file written by hand is read", async () => {
  const bytes = fileOf(
    `{"__metadata__":{"format":"pt"},"a":${tensor("F32", "[2]", 0, 8)}, "b" :${tensor("BF16", "[]", 8, 10)}}`,
    10,
  );
  new DataView(bytes.buffer).setFloat32(bytes.length - 10, 1.5, true);
  new DataView(bytes.buffer).setUint16(bytes.length - 2, 0x4049, true);
  const file = await openSafetensors(memorySource(bytes));
  expect([...file.tensors.keys()]).toEqual(["a", "b"]);
  expect(file.metadata.get("format")).toBe("pt");
  expect(Array.from(toNumbers(await file.read("a")))).toEqual([1.5, 0]);
  expect(await file.read("b")).toMatchObject({ dtype: "bf16", shape: [] });
  expect(toNumbers(await file.read("b"))[0]).toBe(3.140625);
  await expect(file.read("c")).rejects.toThrow('the file has no tensor "c"');
});

test("every dtype goes through a file on disk unchanged, and equal tensors give equal bytes", async () => {
  const names = Object.keys(dtypes).filter(isDType);
  const tensors = fc.uniqueArray(
    fc.record({
      name: fc.string({ maxLength: 12 }).filter((name) => name !== "__metadata__"),
      dtype: fc.constantFrom(...names),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
      byte: fc.nat(255),
    }),
    { selector: (row) => row.name, maxLength: 6 },
  );
  const property = fc.asyncProperty(tensors, async (rows) => {
    const map = new Map<string, HostTensor>(
      rows.map(({ name, dtype, shape, byte }) => {
        const bytes = new Uint8Array(byteCount(dtype, shape)).fill(dtype === "bool" ? byte % 2 : byte);
        return [name, { dtype, shape, bytes }];
      }),
    );
    const path = join(folder, "all.safetensors");
    await writeSafetensorsFile(path, map, new Map([["k", "v\n"]]));
    const file = await openSafetensorsFile(path);
    expect(new Set(file.tensors.keys())).toEqual(new Set(map.keys()));
    for (const [name, expected] of map) expect(await file.read(name)).toEqual(expected);
    expect(file.metadata.get("k")).toBe("v\n");
    await file.close();
    const reversed = new Map([...map].reverse());
    expect(encodeSafetensors(reversed, new Map([["k", "v\n"]]))).toEqual(
      new Uint8Array(await readFile(path)),
    );
  });
  await fc.assert(property, { numRuns: 60 });
});

test("wide elements come first, so that each tensor is aligned", async () => {
  const map = new Map<string, HostTensor>([
    ["a", fromNumbers("u8", [3], [1, 2, 3])],
    ["b", fromNumbers("i64", [1], [9])],
    ["c", fromNumbers("f16", [1], [2])],
  ]);
  const file = await openSafetensors(memorySource(encodeSafetensors(map)));
  for (const entry of file.tensors.values()) expect(entry.begin % dtypes[entry.dtype as DType].bytes).toBe(0);
});

describe("hostile headers are refused with a plain message in under two seconds", () => {
  const many = Array.from({ length: 200_001 }, (_, k) => `"t${k}":${tensor("U8", "[0]", 0, 0)}`).join(",");
  const wide = `{"__metadata__":{"x":"${"a".repeat(60_000_000)}"},"y":[[[[1]]]]}`;
  const cases: readonly (readonly [string, () => Uint8Array, string])[] = [
    ["empty file", () => new Uint8Array(0), "the file has 0 bytes, fewer than the 8"],
    [
      "header longer than the file",
      () => fileOf("{}", 0, 1000n),
      "the header claims 1000 bytes, and the file has 10",
    ],
    ["header over 100 MB", () => fileOf("{}", 0, 2n ** 63n), "more than the 100000000 allowed"],
    ["200,001 tensors", () => fileOf(`{${many}}`, 0), "more than 200000 tensors"],
    [
      "400,002 tensors",
      () => fileOf(`{${many},${many.replaceAll('"t', '"u')}}`, 0),
      "more than 200001 entries",
    ],
    [
      "overlap",
      () => fileOf(`{"a":${tensor("U8", "[4]", 0, 4)},"b":${tensor("U8", "[4]", 2, 6)}}`, 6),
      'tensor "b" overlaps',
    ],
    [
      "same bytes twice",
      () => fileOf(`{"a":${tensor("U8", "[4]", 0, 4)},"b":${tensor("U8", "[4]", 0, 4)}}`, 4),
      "overlaps",
    ],
    [
      "hole",
      () => fileOf(`{"a":${tensor("U8", "[4]", 0, 4)},"b":${tensor("U8", "[1]", 5, 6)}}`, 6),
      "1 bytes before tensor",
    ],
    [
      "bytes left over",
      () => fileOf(`{"a":${tensor("U8", "[4]", 0, 4)}}`, 9),
      "the last 5 bytes belong to no tensor",
    ],
    [
      "offset past the end",
      () => fileOf(`{"a":${tensor("U8", "[4]", 0, 4)}}`, 3),
      "lies at bytes 0 to 4 of 3",
    ],
    ["offsets reversed", () => fileOf(`{"a":${tensor("U8", "[0]", 4, 0)}}`, 4), "lies at bytes 4 to 0"],
    [
      "negative offset",
      () => fileOf(`{"a":${tensor("U8", "[4]", -4, 0)}}`, 4),
      "offsets that are not two counts",
    ],
    [
      "huge offset",
      () => fileOf(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1e300,1e301]}}`, 4),
      "not two counts",
    ],
    [
      "shape and bytes differ",
      () => fileOf(`{"a":${tensor("F32", "[3]", 0, 8)}}`, 8),
      "F32[3], 12 bytes, and has 8",
    ],
    [
      "a product that wraps 64 bits to 4",
      () => fileOf(`{"a":${tensor("U8", "[4194305,4194305,211106198978564]", 0, 4)}}`, 4),
      "and has 4",
    ],
    ["a fractional extent", () => fileOf(`{"a":${tensor("U8", "[1.5]", 0, 4)}}`, 4), "a list of counts"],
    [
      "a key twice",
      () => fileOf(`{"a":${tensor("U8", "[0]", 0, 0)},"a":${tensor("U8", "[0]", 0, 0)}}`, 0),
      'the key "a" twice',
    ],
    [
      "a field twice",
      () => fileOf(`{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0),
      'the key "dtype" twice',
    ],
    [
      "an escaped key twice",
      () => fileOf(`{"a":${tensor("U8", "[0]", 0, 0)},"\\u0061":${tensor("U8", "[0]", 0, 0)}}`, 0),
      'the key "a" twice',
    ],
    [
      "an unknown field",
      () => fileOf(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}`, 0),
      'unknown field "x"',
    ],
    ["unknown dtype", () => fileOf(`{"a":${tensor("Q7", "[0]", 0, 0)}}`, 0), 'the unknown dtype "Q7"'],
    [
      "dtype named like a property",
      () => fileOf(`{"a":${tensor("constructor", "[0]", 0, 0)}}`, 0),
      "the unknown dtype",
    ],
    [
      "deep JSON",
      () => fileOf(`{"a":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}`, 0),
      "nested more than 3 deep",
    ],
    [
      "a long string of escapes, then rubbish",
      () => fileOf(`{"${"\\n".repeat(4_000_000)}":}`, 0),
      "is not JSON at character",
    ],
    ["a 60 MB string, then depth", () => fileOf(wide, 0), "nested more than 3 deep"],
    ["an unclosed string", () => fileOf(`{"${"a".repeat(1_000_000)}`, 0), "bad string at character 1"],
    ["not JSON", () => fileOf("<xml/>", 0), "is not JSON at character 0"],
    ["not an object", () => fileOf("[]", 0), "not a JSON object"],
    ["text after the end", () => fileOf("{}x", 0), "is not JSON at character 2"],
    ["not UTF-8", () => fileOf(new Uint8Array([0x7b, 0xff, 0x7d]), 0), "is not UTF-8"],
    ["metadata of numbers", () => fileOf(`{"__metadata__":{"a":1}}`, 0), "a value that is not a string"],
    ["too many axes", () => fileOf(`{"a":${tensor("U8", `[${"1,".repeat(99)}1]`, 0, 1)}}`, 1), "100 axes"],
  ];
  for (const [name, make, message] of cases) {
    test(name, async () => {
      const bytes = make();
      // The processor's time: how busy the machine is otherwise is not the file's doing.
      const start = process.cpuUsage();
      const failure = await openSafetensors(memorySource(bytes)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(SafetensorsError);
      expect(String(failure)).toContain(message);
      expect(String(failure).length).toBeLessThan(600);
      const { user, system } = process.cpuUsage(start);
      expect((user + system) / 1e6).toBeLessThan(2);
    });
  }

  test("names that are properties of objects are only names", async () => {
    const names = ["__proto__", "constructor", "toString", ""];
    const json = names.map((name, k) => `"${name}":${tensor("U8", "[1]", k, k + 1)}`).join(",");
    const file = await openSafetensors(memorySource(fileOf(`{${json}}`, names.length)));
    expect([...file.tensors.keys()]).toEqual(names);
    expect(Object.hasOwn(Object.prototype, "dtype")).toBe(false);
  });

  test("a stored type that the language lacks is refused when it is read, not before", async () => {
    const file = await openSafetensors(memorySource(fileOf(`{"a":${tensor("F64", "[1]", 0, 8)}}`, 8)));
    await expect(file.read("a")).rejects.toThrow('tensor "a" is stored as F64, which is no dtype here');
  });

  test("a bool is 0 or 1", async () => {
    const bytes = fileOf(`{"a":${tensor("BOOL", "[1]", 0, 1)}}`, 1);
    bytes[bytes.length - 1] = 7;
    const file = await openSafetensors(memorySource(bytes));
    await expect(file.read("a")).rejects.toThrow("bytes other than 0 and 1");
  });

  test("any damage to a good file is a SafetensorsError or goes unnoticed, never another error", async () => {
    const good = encodeSafetensors(
      new Map([
        ["w", fromNumbers("f32", [2, 2], [1, 2, 3, 4])],
        ["b", fromNumbers("bf16", [2], [1, 2])],
      ]),
    );
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const property = fc.asyncProperty(damage, fc.nat(good.length), async (edits, keep) => {
      const bytes = good.slice(0, keep % 3 === 0 ? keep : good.length);
      for (const [at, byte] of edits) if (at < bytes.length) bytes[at] = byte;
      try {
        const file = await openSafetensors(memorySource(bytes));
        for (const name of file.tensors.keys()) await file.read(name);
      } catch (error) {
        expect(error).toBeInstanceOf(SafetensorsError);
      }
    });
    await fc.assert(property, { numRuns: 500 });
  });
});

test("a write that fails leaves the old file and nothing beside it", async () => {
  const path = join(folder, "kept.safetensors");
  await writeFile(path, "old");
  const broken: HostTensor = { dtype: "u8", shape: [2], bytes: fromNumbers("u8", [2], [1, 2]).bytes };
  const before = await readdir(folder);
  await expect(writeSafetensorsFile(path, new Map([["__metadata__", broken]]))).rejects.toThrow(
    SafetensorsError,
  );
  await expect(writeSafetensorsFile(join(path, "below", "x"), new Map())).rejects.toThrow();
  await expect(writeSafetensorsFile(folder, new Map([["a", broken]]))).rejects.toThrow();
  expect(await readFile(path, "utf8")).toBe("old");
  expect(await readdir(folder)).toEqual(before);
});
