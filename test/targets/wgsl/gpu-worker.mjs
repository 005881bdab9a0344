// Runs WGSL modules in a process of its own: jobs as JSON lines on stdin, answers as JSON lines on stdout.
// `node gpu-worker.mjs` is Dawn (Tint), `deno run gpu-worker.mjs` is wgpu (naga). `node gpu-worker.mjs null` is a Dawn
// that runs nothing and has every feature, so that modules are checked which no device here could run.
const isDeno = "Deno" in globalThis;
const isNull = !isDeno && process.argv[2] === "null";

async function openGpu() {
  if (isDeno) return navigator.gpu;
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  return create(isNull ? ["backend=null", "enable-dawn-features=allow_unsafe_apis"] : []);
}

const gpu = await openGpu();
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("no adapter");
const experimental = isNull ? ["chromium-experimental-subgroup-matrix"] : [];
const wanted = ["shader-f16", "subgroups", ...experimental].filter((feature) =>
  adapter.features.has(feature),
);
const device = await adapter.requestDevice({
  requiredFeatures: wanted,
  requiredLimits: { maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage },
});

function decode(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

function encode(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

async function errorsOf(work) {
  device.pushErrorScope("internal");
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const result = await work();
  const found = [await device.popErrorScope(), await device.popErrorScope(), await device.popErrorScope()];
  const messages = found.filter((error) => error !== null).map((error) => error.message);
  return { result, messages };
}

/** Pipelines of the last jobs, the latest last: a plan launches the same kernel many times, and to compile it takes long. */
const pipelines = new Map();
const mostPipelines = 64;

/** Of a job its pipeline and layout, or { error }. */
async function pipelineOf(job) {
  const key = JSON.stringify([job.text, job.entry, job.access]);
  let found = pipelines.get(key);
  if (found === undefined) {
    const { result: module, messages } = await errorsOf(() => device.createShaderModule({ code: job.text }));
    if (messages.length > 0) return { error: messages.join("\n") };
    const compiled = await errorsOf(() => createPipeline(module, job));
    if (compiled.messages.length > 0) return { error: compiled.messages.join("\n") };
    found = compiled.result;
  }
  pipelines.delete(key);
  pipelines.set(key, found);
  if (pipelines.size > mostPipelines) pipelines.delete(pipelines.keys().next().value);
  return found;
}

/** A job: { text, entry, run?: { buffers: [{ bytes, access }], sizes, grid } }. */
async function work(job) {
  const found = await pipelineOf(job);
  if (found.error !== undefined) return found;
  if (job.run === undefined) return { features: wanted };
  const ran = await errorsOf(() => run(found, job.run));
  if (ran.messages.length > 0) return { error: ran.messages.join("\n") };
  return { buffers: ran.result };
}

function createPipeline(module, job) {
  const entries = (job.access ?? []).map((access, binding) => ({
    binding,
    visibility: 4,
    buffer: { type: access === "uniform" ? "uniform" : access === "read" ? "read-only-storage" : "storage" },
  }));
  const layout = device.createBindGroupLayout({ entries });
  const pipeline = device.createComputePipeline({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: job.entry },
  });
  return { layout, pipeline };
}

async function run({ layout, pipeline }, { buffers, sizes, grid }) {
  const made = buffers.map((bytes) => {
    const data = decode(bytes);
    const size = Math.max(4, Math.ceil(data.length / 4) * 4);
    const padded = new Uint8Array(size);
    padded.set(data);
    const buffer = device.createBuffer({ size, usage: 128 | 4 | 8 });
    device.queue.writeBuffer(buffer, 0, padded);
    return buffer;
  });
  const entries = made.map((buffer, binding) => ({ binding, resource: { buffer } }));
  if (sizes.length > 0) {
    const uniform = device.createBuffer({ size: Math.ceil(sizes.length / 4) * 16, usage: 64 | 8 });
    device.queue.writeBuffer(uniform, 0, new Int32Array(sizes));
    entries.push({ binding: entries.length, resource: { buffer: uniform } });
  }
  const group = device.createBindGroup({ layout, entries });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...grid);
  pass.end();
  const staged = made.map((buffer) => {
    const staging = device.createBuffer({ size: buffer.size, usage: 1 | 8 });
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
    return staging;
  });
  device.queue.submit([encoder.finish()]);
  const results = [];
  for (const [k, staging] of staged.entries()) {
    await staging.mapAsync(1);
    results.push(encode(new Uint8Array(staging.getMappedRange())));
    staging.destroy();
    made[k].destroy();
  }
  return results;
}

async function* stdinLines() {
  const decoder = new TextDecoder();
  let rest = "";
  const stream = isDeno ? Deno.stdin.readable : process.stdin;
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

function answer(value) {
  const line = `${JSON.stringify(value)}\n`;
  if (isDeno) Deno.stdout.writeSync(new TextEncoder().encode(line));
  else process.stdout.write(line);
}

answer({ ready: adapter.info.description || adapter.info.device || adapter.info.vendor, features: wanted });
for await (const line of stdinLines()) {
  if (line === "") continue;
  try {
    answer(await work(JSON.parse(line)));
  } catch (error) {
    answer({ error: String(error) });
  }
}
// Dawn's threads would keep the process alive.
if (!isDeno) process.exit(0);
