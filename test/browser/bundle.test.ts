/** The compiler and the runtime in a browser: bundled by Vite, run in Debian's Chromium, WebGPU on SwiftShader. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";

const chromium = "/usr/bin/chromium";
const here = existsSync(chromium);
const folder = mkdtempSync(join(tmpdir(), "weft-browser-"));
let server: Server | undefined;
let hear: (lines: string) => void = () => undefined;
/** What the page sends when it is done, or how it failed. */
const heard = new Promise<string>((resolve) => {
  hear = resolve;
});

beforeAll(async () => {
  await build({
    configFile: false,
    logLevel: "error",
    root: import.meta.dirname,
    build: {
      outDir: folder,
      target: "esnext",
      lib: { entry: "page.ts", formats: ["es"], fileName: "page" },
      emptyOutDir: true,
    },
  });
  server = createServer((request, response) => {
    if (request.method === "POST") {
      let body = "";
      request.on("data", (part) => {
        body += String(part);
      });
      request.on("end", () => hear(body));
      response.end();
      return;
    }
    const path =
      request.url === "/" ? undefined : join(folder, request.url?.replace(/[^A-Za-z0-9._-]/g, "") ?? "");
    response.setHeader(
      "content-type",
      path === undefined
        ? "text/html"
        : extname(path) === ".js"
          ? "text/javascript"
          : "application/octet-stream",
    );
    if (path === undefined)
      response.end(
        '<!doctype html><title>busy</title><body><script>onerror = (m) => fetch("/result", { method: "POST", body: "failed: " + m })</script><script type="module" src="/page.js"></script>',
      );
    else if (existsSync(path)) response.end(readFileSync(path));
    else response.writeHead(404).end();
  });
  await new Promise<void>((done) => server?.listen(0, "127.0.0.1", done));
}, 120_000);

afterAll(() => {
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Softmax of sin + cos, by plain arithmetic. */
function expected(): string {
  const rows = [0, 1, 2].map((row) => {
    const e = [0, 1, 2, 3, 4].map((d) => Math.exp(Math.sin(row * 5 + d) + Math.cos(3 * (row * 5 + d))));
    const sum = e.reduce((a, b) => a + b);
    return e.map((v) => v / sum);
  });
  return rows
    .flat()
    .map((v) => v.toFixed(6))
    .join(" ");
}

/** Ends what is left of a process group; there may be nothing. */
function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

it.skipIf(!here)(
  `runs in Chromium${here ? "" : ` (not here: ${chromium})`}`,
  async () => {
    const address = server?.address() as AddressInfo | null | undefined;
    if (address === null || address === undefined) throw new Error("the server is not up");
    const { port } = address;
    const profile = mkdtempSync(join(tmpdir(), "weft-profile-"));
    const browser = spawn(
      chromium,
      [
        "--headless",
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--user-data-dir=${profile}`,
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
        "--remote-debugging-port=0",
        `http://127.0.0.1:${port}/`,
      ],
      // A group of its own: its children outlive it, and would go on writing into the profile.
      { stdio: "ignore", env: { ...process.env, TMPDIR: profile }, detached: true },
    );
    const ended = new Promise((resolve) => browser.once("exit", resolve));
    onTestFinished(() => {
      endGroup(browser.pid);
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    const lines = (await heard).split("\n");
    browser.kill("SIGTERM");
    await ended;
    expect(lines.map((line) => line.split(": ")[0])).toEqual(["js", "webgpu"]);
    const want = expected().split(" ").map(Number);
    for (const line of lines) {
      const have = (line.split(": ")[1] ?? "").split(" ").map(Number);
      expect(have.length).toBe(want.length);
      have.forEach((value, k) => expect(Math.abs(value - (want[k] ?? Number.NaN))).toBeLessThan(2e-6));
    }
  },
  120_000,
);
