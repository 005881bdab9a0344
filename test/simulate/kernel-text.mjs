/**
 * What hand-written kernels are made of. Plain JavaScript, so that tests and the benchmark share them.
 *
 * A kernel is { name, ptx, grid, block, cluster?, shared?, args, check, exact }. Arguments: { in: typed array },
 * { out: bytes }, { u32 }, { f32 }, { map: { of: argument number, type, dims, strides, box, swizzle } }.
 * `check(outputs)` throws when the bytes of an output are not what arithmetic in f64 says.
 */

export const header = (target = "sm_90a") => `.version 8.5\n.target ${target}\n.address_size 64\n`;

let labels = 0;

const common = `.reg .pred p<10>, pw;
  .reg .b32 r<90>, tid, lane, warp, stage, phase, i, base, bar, full, empty;
  .reg .b64 d<40>, in, out;
  .reg .f32 f<40>;
  .reg .b16 h<8>;`;

const dynamic = ".extern .shared .align 1024 .b8 memory[];";

export function entry(params, declarations, body, target) {
  labels = 0;
  return `${header(target)}
${body.includes(" memory;") ? dynamic : ""}
.visible .entry test(${params})
{
  ${common}
  ${declarations}
  mov.u32 tid, %tid.x;
  and.b32 lane, tid, 31;
  shr.u32 warp, tid, 5;
${body
  .trim()
  .split("\n")
  .map((line) => `  ${line.trim()}`)
  .join("\n")}
  ret;
}
`;
}

/** Waits for the phase of a parity to be over. */
export const wait = (address, parity) => {
  const label = `W${labels++}`;
  return `${label}: mbarrier.try_wait.parity.shared::cta.b64 pw, [${address}], ${parity};\n@!pw bra ${label};`;
};

/** The next stage of a ring; the phase turns where it begins again. */
export const advance = (stages) => `add.u32 stage, stage, 1;
setp.eq.u32 p9, stage, ${stages};
selp.b32 stage, 0, stage, p9;
@p9 xor.b32 phase, phase, 1;`;

export const floats = (n, of) => Float32Array.from({ length: n }, (_, k) => of(k));
export const bf16 = (x) => {
  const bits = new Uint32Array(new Float32Array([x]).buffer)[0];
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
};
export const fromBf16 = (bits) => new Float32Array(new Uint32Array([bits << 16]).buffer)[0];
export const f16 = (x) => {
  // Small integers and quarters only: exact in f16.
  if (x === 0) return 0;
  const sign = x < 0 ? 0x8000 : 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  return sign | ((exponent + 15) << 10) | Math.round((Math.abs(x) / 2 ** exponent - 1) * 1024);
};
export const small8 = (exponentBits, mantissaBits) => (x) => {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  const bias = 2 ** (exponentBits - 1) - 1;
  return (
    (x < 0 ? 128 : 0) |
    ((exponent + bias) << mantissaBits) |
    Math.round((Math.abs(x) / 2 ** exponent - 1) * 2 ** mantissaBits)
  );
};

export function expectNear(got, wanted, what) {
  for (let k = 0; k < wanted.length; k++)
    if (got[k] !== wanted[k])
      throw new Error(`${what}: element ${k} is ${got[k]} and should be ${wanted[k]}`);
}

export const asF32 = (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
export const asU32 = (bytes) => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
export const asU16 = (bytes) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1);

export const pointers = `ld.param.u64 in, [pIn];
ld.param.u64 out, [pOut];
cvta.to.global.u64 in, in;
cvta.to.global.u64 out, out;`;
export const inOut = ".param .u64 pIn, .param .u64 pOut";

/** Small whole numbers without a pattern that a swapped row or column would keep. */
export const scattered = (j, salt) => (Math.imul(j + 1, 0x9e3779b1 + salt) >>> 15) % 7;
