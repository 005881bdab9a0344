/** Schedules from the standard library, the contract, or text. */
import { readFileSync } from "node:fs";
import { compilePipeline, type CompiledPipeline, type Pipeline } from "../../compiler/pipeline/index.ts";

export function textOf(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

export function compiled(text: string, ranks: number, micro: number): CompiledPipeline {
  return compilePipeline({
    source: { file: "test.dsl", text },
    host: { read: () => undefined },
    name: undefined,
    ranks,
    micro,
  });
}

export function pipelineOf(text: string, ranks: number, micro: number): Pipeline {
  const { pipeline, diagnostics } = compiled(text, ranks, micro);
  if (pipeline === undefined) throw new Error(diagnostics.map(({ message }) => message).join("\n"));
  return pipeline;
}

export function libraryPipeline(name: string, ranks: number, micro: number): Pipeline {
  return pipelineOf(textOf(`stdlib/pipeline/${name}.dsl`), ranks, micro);
}
