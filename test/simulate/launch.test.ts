import { expect, test } from "vitest";
import { createDevice, launch, loadModule, renderFinding } from "../../runtime/simulate/index.ts";

const header = ".version 8.5\n.target sm_90a\n.address_size 64\n";

const scale = `${header}
.visible .entry scale(.param .u64 px, .param .u64 py, .param .u32 pn, .param .f32 pa)
{
  .reg .pred p;
  .reg .b32 i, n, t, d;
  .reg .b64 x, y, o;
  .reg .f32 a, v;
  ld.param.u64 x, [px];
  ld.param.u64 y, [py];
  ld.param.u32 n, [pn];
  ld.param.f32 a, [pa];
  cvta.to.global.u64 x, x;
  cvta.to.global.u64 y, y;
  mov.u32 t, %ctaid.x;
  mov.u32 d, %ntid.x;
  mov.u32 i, %tid.x;
  mad.lo.u32 i, t, d, i;
  mov.u32 t, %nctaid.x;
  mul.lo.u32 d, d, t;
LOOP:
  setp.ge.u32 p, i, n;
  @p bra DONE;
  mul.wide.u32 o, i, 4;
  add.u64 o, x, o;
  ld.global.f32 v, [o];
  fma.rn.f32 v, v, a, a;
  mul.wide.u32 o, i, 4;
  add.u64 o, y, o;
  st.global.f32 [o], v;
  add.u32 i, i, d;
  bra LOOP;
DONE:
  ret;
}
`;

test("a grid-stride loop, with lanes that leave it at different times", () => {
  const module = loadModule(scale);
  const device = createDevice();
  const n = 1000;
  const x = device.alloc(4 * n);
  const y = device.alloc(4 * n);
  device.write(
    x,
    Float32Array.from({ length: n }, (_, i) => i),
  );
  const report = launch(module, "scale", {
    grid: [3, 1, 1],
    block: [96, 1, 1],
    args: [
      { kind: "buffer", buffer: x },
      { kind: "buffer", buffer: y },
      { kind: "u32", value: n },
      { kind: "f32", value: 2 },
    ],
  });
  expect(report.findings.map(renderFinding)).toEqual([]);
  expect([...new Float32Array(device.read(y).buffer)]).toEqual(
    Array.from({ length: n }, (_, i) => 2 * i + 2),
  );
  expect(report.counts.bytes["global read"]).toBe(4 * n);
});
