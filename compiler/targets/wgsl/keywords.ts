/**
 * Names that a WGSL module must not give to anything of its own: keywords and reserved words (WGSL, sections 15.1
 * and 15.2), and the predeclared types and functions that emitted text uses.
 */
export const wgslReserved: readonly string[] = [
  ..."alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let".split(
    " ",
  ),
  ..."loop override requires return struct switch true var while".split(" "),
  ..."NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become binding_array cast".split(
    " ",
  ),
  ..."catch class co_await co_return co_yield coherent column_major common compile compile_fragment concept const_cast".split(
    " ",
  ),
  ..."consteval constexpr constinit crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit".split(
    " ",
  ),
  ..."export extends extern external fallthrough filter final finally friend from fxgroup get goto groupshared highp impl".split(
    " ",
  ),
  ..."implements import inline instanceof interface layout lowp macro macro_rules match mediump meta mod module move mut".split(
    " ",
  ),
  ..."mutable namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null nullptr of".split(
    " ",
  ),
  ..."operator package packoffset partial pass patch pixelfragment precise precision premerge priv protected pub public".split(
    " ",
  ),
  ..."readonly ref regardless register reinterpret_cast require resource restrict self set shared sizeof smooth snorm".split(
    " ",
  ),
  ..."static static_assert static_cast std subroutine super target template this thread_local throw trait try type typedef".split(
    " ",
  ),
  ..."typeid typename typeof union unless unorm unsafe unsized use using varying virtual volatile wgsl where with writeonly".split(
    " ",
  ),
  ..."yield".split(" "),
  ..."array atomic bool f16 f32 i32 i64 u32 u64 ptr sampler texture vec2 vec3 vec4 mat2x2 mat3x3 mat4x4".split(
    " ",
  ),
  ..."function private workgroup uniform storage read write read_write handle".split(" "),
  ..."abs all any atomicAdd atomicAnd atomicLoad atomicMax atomicMin atomicOr atomicStore bitcast ceil clamp cos".split(
    " ",
  ),
  ..."countLeadingZeros countOneBits exp exp2 floor fma inverseSqrt log log2 max min round select sin sqrt".split(
    " ",
  ),
  ..."subgroupShuffle subgroupShuffleXor tanh trunc pack2x16float unpack2x16float workgroupBarrier storageBarrier".split(
    " ",
  ),
];
