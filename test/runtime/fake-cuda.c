/* A CUDA driver that is not one: device memory is memory, a stream runs at once, and the two kernels of the plan
   written by hand are C functions. It tries the foreign interface and the order of calls where there is no GPU;
   what the true driver makes of them only a GPU tells. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
static int current, launches, graph_launches, live_graphs, allocations, flushes;
static const u64 context = 0x1000, stream_handle = 0x2000;

/* Counters that the test reads, by name of the function that would be odd to call. */
int fakeCount(int which) { return which == 0 ? allocations : which == 1 ? graph_launches : which == 2 ? launches : which == 3 ? live_graphs : flushes; }

int cuInit(unsigned flags) { return flags == 0 ? 0 : 1; }
int cuDriverGetVersion(int *v) { *v = 12080; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int k) { *d = k; return k == 0 ? 0 : 101; }
int cuDeviceGetName(char *s, int n, int d) { (void)d; snprintf(s, n, "Fake GPU"); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { (void)d; *v = a == 75 ? 9 : a == 76 ? 0 : a == 38 ? 1 << 20 : -1; return 0; }
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
  char *text = strdup(image);
  *m = (u64)text;
  for (char *c = text; (c = strstr(c, "//"));) while (*c && *c != '\n') *c++ = ' ';
  return 0;
}
int cuModuleUnload(u64 m) { free((void *)m); return 0; }

/* A function: what it does, where the fake knows it, and the bytes of its parameters as its PTX declares them. */
typedef void kernel(void **p, unsigned grid);
enum { most_parameters = 32, parameter_bytes = 128 };
struct function { char name[128]; kernel *body; int count, bytes[most_parameters]; };

static void affine(void **p, unsigned grid) {
  const float *x = *(const float **)p[0]; float *y = *(float **)p[1]; int n = *(int *)p[2];
  for (unsigned i = 0; i < grid * 64u && (int)i < n; i++) y[i] = x[i] * 3 + 1;
}
static void twice(void **p, unsigned grid) {
  const float *x = *(const float **)p[0]; float *y = *(float **)p[1]; int n = *(int *)p[2];
  for (unsigned i = 0; i < grid * 64u && (int)i < n; i++) y[i] = x[i] * 2;
}

/* Reads `.param .u64 x, .param .align 64 .b8 map[128])` up to the parenthesis that closes it. */
static int read_parameters(struct function *f, const char *at) {
  const char *end = strchr(at, ')');
  if (!end) return 1;
  for (const char *p = strstr(at, ".param"); p && p < end; p = strstr(p + 1, ".param")) {
    const char *next = strstr(p + 1, ".param"), *bracket = strchr(p, '[');
    if (!next || next > end) next = end;
    if (f->count == most_parameters) return 1;
    f->bytes[f->count++] = bracket && bracket < next ? atoi(bracket + 1) : memmem(p, next - p, "64 ", 3) ? 8 : 4;
  }
  return 0;
}
int cuModuleGetFunction(u64 *out, u64 m, const char *name) {
  char entry[160];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  const char *found = strstr((const char *)m, entry);
  if (!found) return 500;
  struct function *f = calloc(1, sizeof *f);
  snprintf(f->name, sizeof f->name, "%s", name);
  f->body = strcmp(name, "affine") == 0 ? affine : strcmp(name, "double") == 0 ? twice : 0;
  *out = (u64)f;
  return read_parameters(f, found + strlen(entry));
}
int cuFuncSetAttribute(u64 f, int a, int v) { (void)f; return a == 8 && v <= 232448 ? 0 : 1; }

int cuMemAlloc_v2(u64 *p, size_t n) { allocations++; *p = (u64)malloc(n); return *p ? 0 : 2; }
int cuMemFree_v2(u64 p) { free((void *)p); return 0; }
int cuMemsetD8_v2(u64 to, unsigned char value, size_t n) { memset((void *)to, value, n); return 0; }
int cuMemsetD8Async(u64 to, unsigned char value, size_t n, u64 s) { if (s != stream_handle) return 400; memset((void *)to, value, n); flushes++; return 0; }
int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t n, u64 s) { if (s != stream_handle) return 400; memcpy((void *)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t n, u64 s) { if (s != stream_handle) return 400; memcpy(to, (void *)from, n); return 0; }
int cuStreamCreate(u64 *s, unsigned flags) { *s = stream_handle; return flags == 1 ? 0 : 1; }
int cuStreamDestroy_v2(u64 s) { return s == stream_handle ? 0 : 400; }
int cuStreamQuery(u64 s) { static int asked; if (s != stream_handle) return 400; return asked++ % 3 == 0 ? 600 : 0; }
int cuStreamSynchronize(u64 s) { return s == stream_handle ? 0 : 400; }

/* A launch with its parameters copied, as the driver copies them; a line of JSON in the file that FAKE_CUDA_LOG names. */
struct attribute { int id; char pad[4]; union { unsigned cluster[3]; int flag; char bytes[64]; } value; };
struct launch { struct function *f; unsigned grid[3], block[3], shared, cluster[3]; int dependent; unsigned char value[most_parameters][parameter_bytes]; };
struct graph { int count; struct launch nodes[256]; };
static struct graph *capturing;

static void run(struct launch *l) {
  void *p[most_parameters];
  const char *path = getenv("FAKE_CUDA_LOG");
  FILE *log = path && *path ? fopen(path, "a") : 0;
  if (log) {
    fprintf(log, "{\"name\":\"%s\",\"grid\":[%u,%u,%u],\"block\":[%u,%u,%u],\"shared\":%u,\"cluster\":[%u,%u,%u],\"dependent\":%d,\"parameters\":[",
      l->f->name, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], l->shared, l->cluster[0], l->cluster[1], l->cluster[2], l->dependent);
    for (int k = 0; k < l->f->count; k++) {
      fputs(k ? ",\"" : "\"", log);
      for (int b = 0; b < l->f->bytes[k]; b++) fprintf(log, "%02x", l->value[k][b]);
      fputs("\"", log);
    }
    fputs("]}\n", log);
    fclose(log);
  }
  for (int k = 0; k < most_parameters; k++) p[k] = l->value[k];
  if (l->f->body) l->f->body(p, l->grid[0]);
}
static int start(struct launch *l, u64 s, void **p) {
  if (!current || s != stream_handle) return 400;
  if (l->grid[0] > 1000000 || l->grid[1] > 65535 || l->grid[2] > 65535 || l->block[0] < 1 || l->block[0] > 1024 || l->shared > 232448) return 1;
  for (int k = 0; k < l->f->count; k++) memcpy(l->value[k], p[k], l->f->bytes[k]);
  if (capturing && capturing->count == 256) return 2;
  if (capturing) { capturing->nodes[capturing->count++] = *l; return 0; }
  launches++;
  run(l);
  return 0;
}
int cuLaunchKernel(u64 f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, u64 s, void **p, void **extra) {
  struct launch l = {(struct function *)f, {gx, gy, gz}, {bx, by, bz}, shared, {1, 1, 1}, 0, {{0}}};
  return extra ? 400 : start(&l, s, p);
}
struct config { unsigned grid[3], block[3], shared; u64 stream; struct attribute *attributes; unsigned count; };
int cuLaunchKernelEx(const struct config *c, u64 f, void **p, void **extra) {
  struct launch l = {(struct function *)f, {c->grid[0], c->grid[1], c->grid[2]}, {c->block[0], c->block[1], c->block[2]}, c->shared, {1, 1, 1}, 0, {{0}}};
  for (unsigned k = 0; k < c->count; k++) {
    const struct attribute *a = &c->attributes[k];
    if (a->id == 4) memcpy(l.cluster, a->value.cluster, sizeof l.cluster);
    else if (a->id == 6) l.dependent = a->value.flag;
    else return 1;
  }
  return extra ? 400 : start(&l, c->stream, p);
}
/* A map is what was asked for, in order: type, rank, swizzle, 0, the address, and five each of extents, strides, box. */
int cuTensorMapEncodeTiled(u64 *map, int type, unsigned rank, u64 address, const u64 *dims, const u64 *strides, const unsigned *box, const unsigned *steps, int interleave, int swizzle, int l2, int fill) {
  struct { unsigned char type, rank, swizzle, zero[5]; u64 address, dims[5], strides[4]; unsigned box[5]; } m = {type, rank, swizzle, {0}, address, {0}, {0}, {0}};
  (void)l2;
  if ((u64)map % 64 || address % 16 || rank < 1 || rank > 5 || interleave || fill || swizzle < 0 || swizzle > 3) return 1;
  for (unsigned k = 0; k < rank; k++) {
    if (!dims[k] || !box[k] || box[k] > 256 || steps[k] != 1 || (k + 1 < rank && strides[k] % 16)) return 1;
    m.dims[k] = dims[k]; m.box[k] = box[k];
    if (k + 1 < rank) m.strides[k] = strides[k];
  }
  memset(map, 0, parameter_bytes);
  memcpy(map, &m, sizeof m);
  return 0;
}

int cuStreamBeginCapture_v2(u64 s, int mode) { if (s != stream_handle || mode != 1 || capturing) return 400; capturing = calloc(1, sizeof *capturing); return 0; }
int cuStreamEndCapture(u64 s, u64 *g) { (void)s; *g = (u64)capturing; capturing = 0; return *g ? 0 : 400; }
int cuGraphInstantiateWithFlags(u64 *e, u64 g, u64 flags) {
  struct graph *copy = malloc(sizeof *copy);
  *copy = *(struct graph *)g;
  *e = (u64)copy;
  live_graphs++;
  return flags == 0 ? 0 : 400;
}
int cuGraphLaunch(u64 e, u64 s) {
  struct graph *g = (struct graph *)e;
  if (s != stream_handle) return 400;
  if (capturing) return 900;
  graph_launches++;
  for (int k = 0; k < g->count; k++) run(&g->nodes[k]);
  return 0;
}
int cuGraphExecDestroy(u64 e) { free((void *)e); live_graphs--; return 0; }
int cuGraphDestroy(u64 g) { free((void *)g); return 0; }
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
