/** Tensor copies: boxes of 1 to 5 dimensions, edges, fills, swizzles, reductions, multicast; and maps that are refused. */
import { describe, expect, test } from "vitest";
import {
  createDevice,
  decodeTensorMap,
  encodeTensorMap,
  launch,
  loadModule,
  renderFinding,
  type TensorMap,
} from "../../runtime/simulate/index.ts";
import { assemble, header, pointer } from "./harness.ts";
import { hasPtxas, needing } from "../targets/ptx/tools.ts";

/** Loads one box and copies shared memory out as it lies. */
function loadKernel(rank: number, coordinates: readonly number[], bytes: number): string {
  return `${header()}
.extern .shared .align 1024 .b8 memory[];
.visible .entry test(.param .align 64 .b8 pMap[128], .param .u64 pOut)
{
  .shared .align 8 .b8 bars[8];
  .reg .pred p; .reg .b32 t, base, bar, v; .reg .b64 map, out, o;
  ld.param.u64 out, [pOut]; cvta.to.global.u64 out, out;
  mov.b64 map, pMap; cvta.param.u64 map, map;
  mov.u32 t, %tid.x; mov.u32 base, memory; mov.u32 bar, bars;
  setp.ne.u32 p, t, 0;
  @p bra READY;
  mbarrier.init.shared::cta.b64 [bar], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], ${bytes};
  cp.async.bulk.tensor.${rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [base], [map, {${coordinates.join(", ")}}], [bar];
READY:
  bar.sync 0;
WAIT:
  mbarrier.try_wait.parity.shared::cta.b64 p, [bar], 0;
  @!p bra WAIT;
COPY:
  add.u32 v, base, t; shl.b32 t, t, 2; shr.u32 t, t, 2;
  mul.lo.u32 v, t, 4; add.u32 v, v, base;
  ld.shared.u32 v, [v];
  mul.wide.u32 o, t, 4; add.u64 o, out, o;
  st.global.u32 [o], v;
  add.u32 t, t, 32;
  setp.lt.u32 p, t, ${bytes / 4};
  @p bra COPY;
  ret;
}
`;
}

/** The same box the other way, after shared memory was filled with a count; `how` is the copy or reduction. */
function storeKernel(how: string, rank: number, coordinates: readonly number[], bytes: number): string {
  return `${header()}
.extern .shared .align 1024 .b8 memory[];
.visible .entry test(.param .align 64 .b8 pMap[128])
{
  .reg .pred p; .reg .b32 t, base, v, c; .reg .b64 map;
  mov.b64 map, pMap; cvta.param.u64 map, map;
  mov.u32 t, %tid.x; mov.u32 base, memory; mov.u32 c, t;
FILL:
  mul.lo.u32 v, c, 4; add.u32 v, v, base;
  st.shared.u32 [v], c;
  add.u32 c, c, 32;
  setp.lt.u32 p, c, ${bytes / 4};
  @p bra FILL;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  setp.ne.u32 p, t, 0;
  @p bra DONE;
  ${how}.${rank}d.global.shared::cta${how.includes("reduce") ? ".add" : ""}.tile.bulk_group [map, {${coordinates.join(", ")}}], [base];
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
DONE:
  ret;
}
`;
}

interface Shape {
  readonly dims: readonly number[];
  readonly box: readonly number[];
  readonly at: readonly number[];
  readonly swizzle: 0 | 32 | 64 | 128;
}

const shapes: readonly Shape[] = [
  { dims: [64], box: [32], at: [16], swizzle: 0 },
  { dims: [64], box: [32], at: [48], swizzle: 0 },
  { dims: [32, 20], box: [32, 16], at: [0, 2], swizzle: 128 },
  { dims: [40, 20], box: [32, 16], at: [-4, 10], swizzle: 128 },
  { dims: [40, 20], box: [16, 8], at: [30, -3], swizzle: 64 },
  { dims: [16, 9], box: [8, 16], at: [12, 1], swizzle: 32 },
  { dims: [16, 6, 5], box: [8, 4, 2], at: [4, 4, 4], swizzle: 0 },
  { dims: [8, 4, 3, 5], box: [8, 2, 2, 2], at: [0, 1, 2, -1], swizzle: 32 },
  { dims: [8, 4, 3, 2, 3], box: [4, 2, 2, 2, 2], at: [2, 3, 1, 1, 2], swizzle: 0 },
];

const stridesOf = (dims: readonly number[]): number[] =>
  dims.slice(0, -1).map((_, i) => dims.slice(0, i + 1).reduce((a, b) => a * b, 4));
const count = (extents: readonly number[]): number => extents.reduce((a, b) => a * b, 1);

/** Index of every box element as coordinates, the first fastest. */
function* elements(box: readonly number[]): Generator<number[]> {
  for (let i = 0; i < count(box); i++) {
    let rest = i;
    yield box.map((extent) => {
      const c = rest % extent;
      rest = Math.floor(rest / extent);
      return c;
    });
  }
}

/** Word of shared memory that the element lies in: rows of the box in order, 16-byte units swapped by the number of the 128-byte line. */
function wordOf(index: number, swizzle: number): number {
  const byte = index * 4 + 1024;
  const line = Math.floor(byte / 128);
  const unit = Math.floor((byte % 128) / 16);
  const moved = swizzle === 0 ? unit : unit ^ (line % (swizzle / 16));
  return (line * 128 + moved * 16 + (byte % 16) - 1024) / 4;
}

describe("loads", () => {
  test.each(
    shapes.map(
      (shape) =>
        [
          `${shape.dims.join("x")} box ${shape.box.join("x")} at ${shape.at.join(",")} swizzle ${shape.swizzle}`,
          shape,
        ] as const,
    ),
  )("%s", (_, { dims, box, at, swizzle }) => {
    for (const fill of ["zero", "nan"] as const) {
      const device = createDevice();
      const source = device.alloc(count(dims) * 4);
      device.write(
        source,
        Float32Array.from({ length: count(dims) }, (__, i) => i + 1),
      );
      const bytes = count(box) * 4;
      const out = device.alloc(bytes);
      const map = encodeTensorMap({
        type: "f32",
        address: source.address,
        dims,
        strides: stridesOf(dims),
        box,
        swizzle,
        fill,
      });
      const module = loadModule(loadKernel(dims.length, at, bytes));
      const report = launch(module, "test", {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        sharedBytes: 2048,
        args: [{ kind: "bytes", bytes: map }, pointer(out)],
      });
      expect(report.findings.map(renderFinding)).toEqual([]);
      const got = new Float32Array(device.read(out).buffer);
      let i = 0;
      for (const offset of elements(box)) {
        const place = offset.map((c, d) => c + at[d]!);
        const inside = place.every((c, d) => c >= 0 && c < dims[d]!);
        const value = place.reduce((sum, c, d) => sum + c * count(dims.slice(0, d)), 0) + 1;
        expect([offset, got[wordOf(i, swizzle)]]).toEqual([
          offset,
          inside ? value : fill === "zero" ? 0 : NaN,
        ]);
        i++;
      }
    }
  });
});

describe("stores and reductions", () => {
  test.each(
    shapes.map(
      (shape) =>
        [
          `${shape.dims.join("x")} box ${shape.box.join("x")} at ${shape.at.join(",")} swizzle ${shape.swizzle}`,
          shape,
        ] as const,
    ),
  )("%s", (_, { dims, box, at, swizzle }) => {
    for (const how of ["cp.async.bulk.tensor", "cp.reduce.async.bulk.tensor"]) {
      const device = createDevice();
      const target = device.alloc(count(dims) * 4);
      device.write(target, new Uint32Array(count(dims)).fill(5000));
      const map = encodeTensorMap({
        type: "u32",
        address: target.address,
        dims,
        strides: stridesOf(dims),
        box,
        swizzle,
        fill: "zero",
      });
      const module = loadModule(storeKernel(how, dims.length, at, count(box) * 4));
      const report = launch(module, "test", {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        sharedBytes: 2048,
        device,
        args: [{ kind: "bytes", bytes: map }],
      });
      expect(report.findings.map(renderFinding)).toEqual([]);
      const wanted = new Uint32Array(count(dims)).fill(5000);
      let i = 0;
      for (const offset of elements(box)) {
        const place = offset.map((c, d) => c + at[d]!);
        const index = place.reduce((sum, c, d) => sum + c * count(dims.slice(0, d)), 0);
        if (place.every((c, d) => c >= 0 && c < dims[d]!))
          wanted[index] = wordOf(i, swizzle) + (how.includes("reduce") ? 5000 : 0);
        i++;
      }
      expect([...new Uint32Array(device.read(target).buffer)]).toEqual([...wanted]);
    }
  });

  test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, "the kernels are valid PTX"), () => {
    for (const { dims, at, box } of shapes) {
      expect(assemble(loadKernel(dims.length, at, count(box) * 4))).toBe(undefined);
      expect(assemble(storeKernel("cp.reduce.async.bulk.tensor", dims.length, at, count(box) * 4))).toBe(
        undefined,
      );
    }
  });
});

describe("maps", () => {
  const good: TensorMap = {
    type: "bf16",
    address: 0x10000010000n,
    dims: [64, 32],
    strides: [128],
    box: [64, 8],
    swizzle: 128,
    fill: "zero",
  };
  test("a map reads back as it was made", () => expect(decodeTensorMap(encodeTensorMap(good))).toEqual(good));
  test.each([
    ["an address off 16 bytes", { ...good, address: 8n }, /multiple of 16/],
    ["a stride off 16 bytes", { ...good, strides: [130] }, /stride of 130/],
    ["an inner box wider than the swizzle", { ...good, swizzle: 64 }, /more than the swizzle/],
    ["an inner box off 16 bytes", { ...good, box: [4, 8] }, /8 bytes, no multiple of 16/],
    ["a box of more than 256", { ...good, box: [64, 257] }, /257/],
    [
      "six dimensions",
      { ...good, dims: [64, 2, 2, 2, 2, 2], strides: [128, 128, 128, 128, 128], box: [8, 1, 1, 1, 1, 1] },
      /6 dimensions/,
    ],
  ] as const)("%s is refused", (_, map, message) =>
    expect(() => encodeTensorMap(map as TensorMap)).toThrow(message),
  );

  test("a map that reaches beyond its buffer is found", () => {
    const device = createDevice();
    const source = device.alloc(1024);
    device.fill(source, 0);
    const map = encodeTensorMap({
      ...good,
      type: "f32",
      address: source.address,
      dims: [32, 16],
      strides: [128],
      box: [32, 16],
    });
    const out = device.alloc(2048);
    const report = launch(loadModule(loadKernel(2, [0, 0], 2048)), "test", {
      grid: [1, 1, 1],
      block: [32, 1, 1],
      sharedBytes: 2048,
      args: [{ kind: "bytes", bytes: map }, pointer(out)],
    });
    expect(report.findings.map((finding) => finding.code)).toContain("out-of-bounds");
  });
});
