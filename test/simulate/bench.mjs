/**
 * How fast the simulator is: scalar thread-instructions a second, and a 128 x 128 x 128 wgmma tile loop with TMA.
 * Needs the compiled package (npm run build); `node test/simulate/bench.mjs [path of simulate/index.js]`.
 */
import { header, gemmRing } from "./kernels.mjs";

const path = process.argv[2] ?? new URL("../../dist/runtime/simulate/index.js", import.meta.url).href;
const { createDevice, encodeTensorMap, launch, loadModule } = await import(path);

const scalar = `${header()}
.visible .entry test(.param .u64 px, .param .u32 pn)
{
  .reg .pred p; .reg .b32 i, n, t, a, b; .reg .b64 x, o; .reg .f32 f, g;
  ld.param.u64 x, [px]; ld.param.u32 n, [pn];
  mov.u32 i, %tid.x; mul.wide.u32 o, i, 4; add.u64 x, x, o;
  mov.u32 t, 0; mov.f32 f, 0f3F800000; mov.f32 g, 0f3F000000; mov.u32 a, 1;
LOOP:
  ld.global.u32 b, [x];
  add.u32 a, a, b; xor.b32 a, a, t; fma.rn.f32 f, f, g, g; shl.b32 b, a, 3; mad.lo.u32 a, b, a, t;
  setp.gt.s32 p, a, 0; selp.b32 a, a, b, p; add.u32 t, t, 1;
  setp.lt.u32 p, t, n;
  @p bra LOOP;
  st.global.u32 [x], a;
  ret;
}
`;

function timed(run) {
  const start = performance.now();
  const report = run();
  const seconds = (performance.now() - start) / 1000;
  if (report.findings.length > 0) throw new Error(JSON.stringify(report.findings[0]));
  return { seconds, report };
}

function runScalar(memoryChecks) {
  const module = loadModule(scalar);
  const device = createDevice();
  const x = device.alloc(1024);
  device.fill(x, 1);
  const args = [
    { kind: "buffer", buffer: x },
    { kind: "u32", value: 20000 },
  ];
  const once = () => launch(module, "test", { grid: [1, 1, 1], block: [256, 1, 1], args }, { memoryChecks });
  once();
  const { seconds, report } = timed(once);
  return report.counts.threadInstructions / seconds / 1e6;
}

function runGemm() {
  const sample = gemmRing(2);
  const module = loadModule(sample.ptx);
  const device = createDevice();
  const buffers = sample.args.map((arg) => {
    const buffer = arg.in ? device.alloc(arg.in.byteLength) : arg.out ? device.alloc(arg.out) : undefined;
    if (arg.in) device.write(buffer, arg.in);
    return buffer;
  });
  const args = sample.args
    .filter((arg) => !arg.hidden)
    .map((arg) => ({
      kind: "bytes",
      bytes: encodeTensorMap({ ...arg.map, address: buffers[arg.map.of].address, fill: "zero" }),
    }));
  const once = () =>
    launch(module, "test", { grid: [1, 1, 1], block: [160, 1, 1], sharedBytes: sample.shared, args, device });
  // Four blocks of 64 x 64 x 128 are the work of one 128 x 128 x 128 tile.
  const { seconds } = timed(() => [once(), once(), once(), once()].at(-1));
  return seconds;
}

console.log(
  `scalar code, all checks:      ${runScalar(true).toFixed(1)} million thread-instructions a second (bar: 20)`,
);
console.log(
  `scalar code, no memory checks: ${runScalar(false).toFixed(1)} million thread-instructions a second`,
);
console.log(`wgmma tile 128x128x128 with TMA, all checks: ${runGemm().toFixed(2)} s (bar: 2)`);
