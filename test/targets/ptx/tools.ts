/** NVIDIA's tools where they are installed; a test that needs a missing one is skipped under a name that says so. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

function isInstalled(tool: string): boolean {
  return spawnSync(tool, ["--version"]).status === 0;
}

export const hasPtxas: boolean = isInstalled("ptxas");
export const hasNvcc: boolean = isInstalled("nvcc");

/** Name of a test that needs the tool. */
export function needing(tool: string, isThere: boolean, name: string): string {
  return isThere ? name : `${name} (skipped: no ${tool} on this machine)`;
}

/** What ptxas says of each entry; warnings and errors apart. */
export interface Assembly {
  readonly complaints: readonly string[];
  /** Entries with a stack frame, spills or local memory. */
  readonly spilling: readonly string[];
  readonly entries: number;
}

export function assemble(text: string, architecture: string): Assembly {
  return inFolder((folder) => {
    const file = join(folder, "kernels.ptx");
    writeFileSync(file, text);
    const { status, stderr, stdout } = spawnSync(
      "ptxas",
      [
        `-arch=${architecture}`,
        "-v",
        "--warn-on-spills",
        "--warn-on-local-memory-usage",
        file,
        "-o",
        join(folder, "kernels.cubin"),
      ],
      { encoding: "utf8" },
    );
    const output = `${stdout}${stderr}`;
    const made = read(output, status);
    const losses = output.split("\n").filter((line) => loss.test(line));
    return { ...made, complaints: [...made.complaints, ...losses] };
  });
}

/** nvcc's numbers for what is declared or set and never used: random kernels compute in vain. */
export const unused: readonly string[] = ["-diag-suppress", "177,550"];

/** Compiles to machine code with every warning an error; gives what the compiler said. */
export function compileCuda(text: string, architecture: string, options: readonly string[] = []): Assembly {
  return inFolder((folder) => {
    const file = join(folder, "kernels.cu");
    writeFileSync(file, text);
    const target = architecture === "sm_80" ? ["-arch=sm_80"] : ["-gencode=arch=compute_90a,code=sm_90a"];
    const strict = ["-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror", "-Xptxas", "-v"];
    const { status, stderr, stdout } = spawnSync(
      "nvcc",
      [...target, ...strict, ...options, "-fmad=false", "-cubin", "-o", join(folder, "kernels.cubin"), file],
      { encoding: "utf8" },
    );
    return read(`${stdout}${stderr}`, status);
  });
}

/** Losses of performance, as of products that are made one after the other, are told as information: C7508, C7514, .. */
const loss = /^ptxas info.*\(C\d+\)/;

function read(output: string, status: number | null): Assembly {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  const told = /^ptxas info|bytes stack frame|Compile time/;
  const complaints = lines.filter((line) => !told.test(line.trim()));
  const frames = lines.filter((line) => line.includes("bytes stack frame"));
  const spilling = frames.filter(
    (line) => !line.includes("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"),
  );
  return {
    complaints: status === 0 ? complaints : [...complaints, `status ${status}`],
    spilling,
    entries: frames.length,
  };
}

function inFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "weft-targets-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
