/**
 * Real WebGPU devices for tests: Dawn (Tint) in Node, wgpu (naga) in Deno, each in a child process that is replaced
 * after some hundred modules, since Dawn's process dies after one to two thousand.
 */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface GpuJob {
  readonly text: string;
  readonly entry: string;
  /** Of each binding; `uniform` for the sizes. */
  readonly access: readonly ("read" | "storage" | "uniform")[];
  readonly run?: {
    readonly buffers: readonly Uint8Array[];
    readonly sizes: readonly number[];
    readonly grid: readonly [number, number, number];
  };
}

export interface Gpu {
  readonly name: string;
  readonly features: readonly string[];
  /** The buffers after the run, in whole words; throws what the device says against the module. */
  run(job: GpuJob): Promise<readonly Uint8Array[]>;
  close(): void;
}

const modulesPerProcess = 400;
const worker = fileURLToPath(new URL("gpu-worker.mjs", import.meta.url));
const swiftShader = "/usr/lib/chromium/vk_swiftshader_icd.json";
const lavapipe = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

interface Engine {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

function dawnEngine(): Engine {
  return {
    command: process.execPath,
    args: [worker],
    env: existsSync(swiftShader) ? { VK_DRIVER_FILES: swiftShader } : {},
  };
}

function nullEngine(): Engine {
  return { command: process.execPath, args: [worker, "null"], env: {} };
}

function wgpuEngine(): Engine {
  const deno = fileURLToPath(new URL("../../../node_modules/.bin/deno", import.meta.url));
  return {
    command: deno,
    args: [
      "run",
      "--no-lock",
      "--no-config",
      "--node-modules-dir=none",
      "--unstable-webgpu",
      "--allow-all",
      worker,
    ],
    env: existsSync(lavapipe)
      ? { VK_DRIVER_FILES: lavapipe, DENO_NO_UPDATE_CHECK: "1" }
      : { DENO_NO_UPDATE_CHECK: "1" },
  };
}

export function openDawn(): Promise<Gpu> {
  return open(dawnEngine());
}

/** Dawn without a device: every feature, and modules are checked as for a real one. */
export function openNullDawn(): Promise<Gpu> {
  return open(nullEngine());
}

export function openWgpu(): Promise<Gpu> {
  return open(wgpuEngine());
}

async function open(engine: Engine): Promise<Gpu> {
  let child = new Child(engine);
  const hello = await child.hello;
  let modules = 0;
  return {
    name: String(hello["ready"]),
    features: Array.isArray(hello["features"]) ? hello["features"].map(String) : [],
    async run(job: GpuJob): Promise<readonly Uint8Array[]> {
      if (modules >= modulesPerProcess) {
        child.close();
        child = new Child(engine);
        await child.hello;
        modules = 0;
      }
      modules += 1;
      const run =
        job.run === undefined
          ? undefined
          : { ...job.run, buffers: job.run.buffers.map((bytes) => Buffer.from(bytes).toString("base64")) };
      const answer = await child.ask({ ...job, run });
      if (typeof answer["error"] === "string") throw new Error(`${answer["error"]}\n${numbered(job.text)}`);
      const buffers = answer["buffers"];
      return Array.isArray(buffers)
        ? buffers.map((text) => new Uint8Array(Buffer.from(String(text), "base64")))
        : [];
    },
    close: () => child.close(),
  };
}

function numbered(text: string): string {
  return text
    .split("\n")
    .map((line, k) => `${String(k + 1).padStart(4)} ${line}`)
    .join("\n");
}

type Answer = Readonly<Record<string, unknown>>;

class Child {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: {
    readonly resolve: (answer: Answer) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  readonly hello: Promise<Answer>;
  #stderr = "";

  constructor(engine: Engine) {
    this.#process = spawn(engine.command, engine.args, {
      env: { ...process.env, ...engine.env },
      stdio: "pipe",
    });
    this.hello = this.#answer();
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      if (line.startsWith("{")) this.#waiting.shift()?.resolve(JSON.parse(line) as Answer);
    });
    this.#process.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-4000);
    });
    this.#process.on("exit", (code, signal) => {
      for (const { reject } of this.#waiting.splice(0))
        reject(new Error(`the GPU process ended (${code ?? signal}): ${this.#stderr}`));
    });
  }

  ask(job: unknown): Promise<Answer> {
    const answer = this.#answer();
    this.#process.stdin.write(`${JSON.stringify(job)}\n`);
    return answer;
  }

  close(): void {
    this.#process.stdin.end();
  }

  #answer(): Promise<Answer> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}
