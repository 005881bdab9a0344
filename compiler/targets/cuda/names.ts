/** Names that a kernel's CUDA C++ must not give to anything of its own. */

const words = (text: string): readonly string[] => text.split(/\s+/);

const keywords =
  words(`alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
  co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do double
  dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
  nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof static
  static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename typeof union unsigned using
  virtual void volatile wchar_t while xor xor_eq`);

/** Types, variables and macros that the compiler or its headers predefine. */
const predefined =
  words(`NULL EOF INFINITY NAN HUGE_VAL linux unix i386 assert errno stdin stdout stderr std nv cuda cooperative_groups
  threadIdx blockIdx blockDim gridDim warpSize dim3 size_t ptrdiff_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t main`);

/** `int1` to `ulonglong4` and their `make_` functions. */
const vectors = words("char uchar short ushort int uint long ulong longlong ulonglong float double")
  .flatMap((element) => [1, 2, 3, 4].map((n) => `${element}${n}`))
  .flatMap((vector) => [vector, `make_${vector}`]);

/** What this target's own text calls or declares. */
const own =
  words(`bf16 f16 e4m3 e5m2 i8 u8 shared_memory fmaf fminf fmaxf fabsf exp2f log2f sinf cosf sqrtf rsqrtf tanhf floorf ceilf truncf rintf
  min max abs atomicAdd atomicAnd atomicOr atomicMin atomicMax`);

/** Functions of the C library, which an `extern "C"` kernel would declare anew. */
const library =
  words(`acos acosf acosh acoshf asin asinf asinh asinhf atan atanf atan2 atan2f atanh atanhf cbrt cbrtf ceil copysign copysignf
  cos cosh coshf cospi cospif erf erff erfc erfcf erfcinv erfcinvf erfcx erfcxf erfinv erfinvf exp expf exp10 exp10f exp2 expm1 expm1f fabs
  fdim fdimf fdivide fdividef floor fma fmax fmin fmod fmodf frexp frexpf hypot hypotf ilogb ilogbf isfinite isinf isnan j0 j0f j1 j1f jn jnf
  ldexp ldexpf lgamma lgammaf llabs llmax llmin llrint llrintf llround llroundf log logf log10 log10f log1p log1pf log2 logb logbf lrint
  lrintf lround lroundf modf modff nan nanf nearbyint nearbyintf nextafter nextafterf norm normf norm3d norm3df norm4d norm4df normcdf
  normcdff normcdfinv normcdfinvf pow powf powi powif rcbrt rcbrtf remainder remainderf remquo remquof rhypot rhypotf rint rnorm rnormf
  rnorm3d rnorm3df rnorm4d rnorm4df round roundf rsqrt saturate scalbln scalblnf scalbn scalbnf signbit sin sinh sinhf sincos sincosf
  sincospi sincospif sinpi sinpif sqrt tan tanf tanh tgamma tgammaf trunc ullmax ullmin umax umin y0 y0f y1 y1f yn ynf labs div ldiv lldiv
  abort atexit atof atoi atol atoll bsearch calloc clock exit free getenv malloc mblen mbtowc memchr memcmp memcpy memmove memset mkstemp
  perror printf putc puts qsort raise rand random read realloc remove rename scanf select signal sprintf srand sscanf strcat strchr strcmp
  strcpy strlen strncat strncmp strncpy strrchr strstr strtod strtof strtok strtol strtoul system time tolower toupper truncate ungetc
  vprintf wait write index rindex link unlink open close dup pipe fork alarm sleep sync access brk sbrk gamma drem significand finite
  cudaMalloc cudaFree cudaMemcpy cudaLaunchKernel surf1Dread tex1D trap prof_trigger`);

export const cudaReserved: readonly string[] = [
  ...new Set([...keywords, ...predefined, ...vectors, ...own, ...library]),
];
