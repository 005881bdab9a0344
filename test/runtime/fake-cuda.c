/* A CUDA driver that is not one: device memory is memory, a stream runs at once, and the two kernels of the plan
   written by hand are C functions. It tries the foreign interface and the order of calls where there is no GPU;
   what the true driver makes of them only a GPU tells. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
static int current, capturing, captured, graphs, launches, allocations;
static const u64 context = 0x1000, stream_handle = 0x2000;

/* Counters that the test reads, by name of the function that would be odd to call. */
int fakeCount(int which) { return which == 0 ? allocations : which == 1 ? graphs : launches; }

int cuInit(unsigned flags) { return flags == 0 ? 0 : 1; }
int cuDriverGetVersion(int *v) { *v = 12080; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int k) { *d = k; return k == 0 ? 0 : 101; }
int cuDeviceGetName(char *s, int n, int d) { (void)d; snprintf(s, n, "Fake GPU"); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { (void)d; *v = a == 75 ? 9 : a == 76 ? 0 : -1; return 0; }
int cuDevicePrimaryCtxRetain(u64 *c, int d) { (void)d; *c = context; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { (void)d; return 0; }
int cuCtxSetCurrent(u64 c) { current = c == context; return current ? 0 : 201; }

int cuModuleLoadDataEx(u64 *m, const char *image, unsigned n, int *options, void **values) {
  char *info = 0, *errors = 0;
  if (!current) return 201;
  for (unsigned k = 0; k < n; k++) {
    if (options[k] == 3) info = values[k];
    if (options[k] == 5) errors = values[k];
    if (options[k] == 6 && (u64)values[k] < 64) return 1;
  }
  if (!info || !errors) return 1;
  if (strstr(image, "broken")) {
    strcpy(errors, "ptxas application ptx input, line 3; error   : Unknown symbol 'broken'");
    return 218;
  }
  *m = (u64)strdup(image);
  return 0;
}
int cuModuleUnload(u64 m) { free((void *)m); return 0; }

typedef void kernel(void **p, unsigned grid);
static void affine(void **p, unsigned grid) {
  const float *x = *(const float **)p[0]; float *y = *(float **)p[1]; int n = *(int *)p[2];
  for (unsigned i = 0; i < grid * 64u && (int)i < n; i++) y[i] = x[i] * 3 + 1;
}
static void twice(void **p, unsigned grid) {
  const float *x = *(const float **)p[0]; float *y = *(float **)p[1]; int n = *(int *)p[2];
  for (unsigned i = 0; i < grid * 64u && (int)i < n; i++) y[i] = x[i] * 2;
}
int cuModuleGetFunction(u64 *f, u64 m, const char *name) {
  if (!strstr((const char *)m, name)) return 500;
  *f = strcmp(name, "affine") == 0 ? (u64)affine : strcmp(name, "double") == 0 ? (u64)twice : 0;
  return *f ? 0 : 500;
}
int cuFuncSetAttribute(u64 f, int a, int v) { (void)f; return a == 8 && v <= 232448 ? 0 : 1; }

int cuMemAlloc_v2(u64 *p, size_t n) { allocations++; *p = (u64)malloc(n); return *p ? 0 : 2; }
int cuMemFree_v2(u64 p) { free((void *)p); return 0; }
int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t n, u64 s) { if (s != stream_handle) return 400; memcpy((void *)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t n, u64 s) { if (s != stream_handle) return 400; memcpy(to, (void *)from, n); return 0; }
int cuStreamCreate(u64 *s, unsigned flags) { *s = stream_handle; return flags == 1 ? 0 : 1; }
int cuStreamDestroy_v2(u64 s) { return s == stream_handle ? 0 : 400; }
int cuStreamQuery(u64 s) { static int asked; if (s != stream_handle) return 400; return asked++ % 3 == 0 ? 600 : 0; }
int cuStreamSynchronize(u64 s) { return s == stream_handle ? 0 : 400; }

/* A graph: launches with their parameters copied, as the driver copies them. */
struct node { kernel *f; unsigned grid; u64 value[3]; };
static struct node nodes[16];
int cuLaunchKernel(u64 f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, u64 s, void **p, void **extra) {
  (void)shared;
  if (!current || s != stream_handle || extra) return 400;
  if (gx > 1000000 || gy != 1 || gz != 1 || bx != 64 || by != 1 || bz != 1) return 1;
  if (capturing) {
    struct node *n = &nodes[captured++];
    n->f = (kernel *)f; n->grid = gx;
    for (int k = 0; k < 2; k++) n->value[k] = *(u64 *)p[k];
    n->value[2] = *(int *)p[2];
    return 0;
  }
  launches++;
  ((kernel *)f)(p, gx);
  return 0;
}
int cuStreamBeginCapture_v2(u64 s, int mode) { capturing = s == stream_handle && mode == 1; captured = 0; return capturing ? 0 : 400; }
int cuStreamEndCapture(u64 s, u64 *g) { (void)s; capturing = 0; *g = 0x3000; return 0; }
int cuGraphInstantiateWithFlags(u64 *e, u64 g, u64 flags) { *e = 0x4000; return g == 0x3000 && flags == 0 ? 0 : 400; }
int cuGraphLaunch(u64 e, u64 s) {
  if (e != 0x4000 || s != stream_handle) return 400;
  graphs++;
  for (int k = 0; k < captured; k++) {
    void *p[3] = {&nodes[k].value[0], &nodes[k].value[1], &nodes[k].value[2]};
    nodes[k].f(p, nodes[k].grid);
  }
  return 0;
}
int cuGraphExecDestroy(u64 e) { return e == 0x4000 ? 0 : 400; }
int cuGraphDestroy(u64 g) { return g == 0x3000 ? 0 : 400; }
int cuEventCreate(u64 *e, unsigned flags) { (void)flags; *e = 0x5000; return 0; }
int cuEventRecord(u64 e, u64 s) { return e == 0x5000 && s == stream_handle ? 0 : 400; }
int cuEventSynchronize(u64 e) { return e == 0x5000 ? 0 : 400; }
int cuEventElapsedTime(float *ms, u64 a, u64 b) { (void)a; (void)b; *ms = 0.25f; return 0; }
int cuEventDestroy_v2(u64 e) { return e == 0x5000 ? 0 : 400; }
int cuGetErrorName(int e, const char **s) {
  *s = e == 218 ? "CUDA_ERROR_INVALID_PTX" : e == 500 ? "CUDA_ERROR_NOT_FOUND" : e == 1 ? "CUDA_ERROR_INVALID_VALUE" : 0;
  return *s ? 0 : 1;
}
int cuGetErrorString(int e, const char **s) {
  *s = e == 218 ? "a PTX JIT compilation failed" : e == 500 ? "named symbol not found" : e == 1 ? "invalid argument" : 0;
  return *s ? 0 : 1;
}
