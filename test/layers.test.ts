/** Which folder may import which: the table of ARCHITECTURE.md, held. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** A layer and the layers that it may import beside itself. What stands directly in `compiler/` is named by file. */
const table: Readonly<Record<string, readonly string[]>> = {
  grammar: [],
  "compiler/diagnostics": [],
  "compiler/types": ["compiler/diagnostics"],
  "compiler/text.ts": ["compiler/diagnostics"],
  "compiler/check": ["grammar", "compiler/diagnostics", "compiler/types"],
  "compiler/tensor": ["compiler/diagnostics", "compiler/types", "compiler/text.ts"],
  "compiler/lower": ["compiler/check", "compiler/tensor", "compiler/types", "compiler/diagnostics"],
  "compiler/passes": ["compiler/tensor", "compiler/types", "compiler/diagnostics"],
  "compiler/tile": ["compiler/tensor", "compiler/types", "compiler/diagnostics", "compiler/text.ts"],
  "compiler/kernel": [
    "compiler/tile",
    "compiler/tensor",
    "compiler/types",
    "compiler/diagnostics",
    "compiler/text.ts",
  ],
  "compiler/targets": ["compiler/kernel", "compiler/types", "compiler/diagnostics"],
  "compiler/plan": ["compiler/kernel", "compiler/tensor", "compiler/types", "compiler/diagnostics"],
  "compiler/pipeline": ["compiler/check", "grammar", "compiler/diagnostics"],
  "compiler/numerics": [
    "compiler/kernel",
    "compiler/tile",
    "compiler/tensor",
    "compiler/types",
    "compiler/diagnostics",
  ],
  "compiler/names.ts": ["compiler/tensor"],
  "compiler/axis-names.ts": ["compiler/check", "compiler/types"],
  "compiler/version.ts": [],
  "compiler/compile.ts": [
    "compiler/axis-names.ts",
    "compiler/check",
    "compiler/diagnostics",
    "compiler/kernel",
    "compiler/lower",
    "compiler/names.ts",
    "compiler/passes",
    "compiler/pipeline",
    "compiler/plan",
    "compiler/scheduling.ts",
    "compiler/targets",
    "compiler/tensor",
    "compiler/tensor-passes.ts",
    "compiler/tile",
    "compiler/types",
    "compiler/version.ts",
  ],
  "compiler/tensor-passes.ts": ["compiler/passes", "compiler/tensor", "compiler/tile", "compiler/types"],
  "compiler/scheduling.ts": [
    "compiler/check",
    "compiler/diagnostics",
    "compiler/passes",
    "compiler/tile",
    "compiler/types",
  ],
  "compiler/index.ts": [
    "grammar",
    "compiler/check",
    "compiler/compile.ts",
    "compiler/diagnostics",
    "compiler/passes",
    "compiler/pipeline",
    "compiler/plan",
    "compiler/targets",
    "compiler/types",
    "compiler/version.ts",
  ],
  runtime: ["compiler/plan", "compiler/types"],
  "runtime/reference": ["runtime", "compiler/tensor"],
  "runtime/simulate": ["runtime", "compiler/plan"],
};

/** Packages, and the one layer that imports each; Node's own modules go by their prefix. */
const packages: Readonly<Record<string, readonly string[]>> = {
  chevrotain: ["grammar"],
  prettier: ["grammar"],
  yargs: ["compiler/cli"],
  koffi: ["runtime"],
  webgpu: ["runtime"],
};

interface Import {
  readonly file: string;
  readonly from: string;
  /** A layer, or a package's name. */
  readonly to: string;
  readonly isPackage: boolean;
}

function layerOf(path: string): string {
  const [top = "", second = ""] = path.split("/");
  if (top === "compiler") return `compiler/${second}`;
  if (top === "runtime" && ["reference", "simulate"].includes(second)) return `runtime/${second}`;
  return top;
}

const files = ["grammar", "compiler", "runtime"].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${top}/${name}`),
);

const imports: readonly Import[] = files.flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^(?:import|export)\b[^"`;]*?\bfrom "([^"]+)"|\bimport\(\s*"([^"]+)"/gm)].map(
    (match) => {
      const path = match[1] ?? match[2] ?? "";
      const isPackage = !path.startsWith(".");
      const to = isPackage ? path : layerOf(normalize(join(dirname(file), path)).replaceAll("\\", "/"));
      return { file, from: layerOf(file), to, isPackage };
    },
  );
});

function unless(allowed: (one: Import) => boolean): readonly string[] {
  return imports.filter((one) => !allowed(one)).map(({ file, to }) => `${file} imports ${to}`);
}

describe("layers", () => {
  it("imports are found at all", () => {
    expect(imports.length).toBeGreaterThan(files.length);
  });

  it("each imports what its row allows, and cli anything", () => {
    expect(
      unless(
        ({ from, to, isPackage }) =>
          isPackage || from === to || from === "compiler/cli" || table[from]?.includes(to) === true,
      ),
    ).toEqual([]);
  });

  it("the table has no cycle", () => {
    const open = new Set<string>();
    const visit = (layer: string): void => {
      if (open.has(layer)) throw new Error(`a cycle through ${[...open, layer].join(" -> ")}`);
      open.add(layer);
      for (const next of table[layer] ?? []) visit(next);
      open.delete(layer);
    };
    expect(() => Object.keys(table).forEach(visit)).not.toThrow();
  });

  it("nothing imports cli", () => {
    expect(unless(({ from, to }) => from === "compiler/cli" || to !== "compiler/cli")).toEqual([]);
  });

  it("a package is imported by one layer, Node's modules by cli and the runtime alone", () => {
    expect(
      unless(({ from, to, isPackage }) => {
        if (!isPackage) return true;
        if (to.startsWith("node:")) return from === "compiler/cli" || from === "runtime";
        return packages[to]?.includes(from) === true;
      }),
    ).toEqual([]);
  });

  it("grammar and compiler ask no clock, no chance and no process", () => {
    const banned =
      /\b(?:process|console|performance)\.|\bDate\b|\bMath\.random\b|\bwindow\.|\bdocument\.|\bnavigator\b/;
    const found = files
      .filter((file) => !file.startsWith("runtime/") && !file.startsWith("compiler/cli/"))
      .filter((file) => banned.test(withoutComments(readFileSync(join(root, file), "utf8"))));
    expect(found).toEqual([]);
  });
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}
