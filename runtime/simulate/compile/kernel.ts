/** A kernel made ready to run, and the module that holds it. */
import { SimulateError } from "../finding.ts";
import { parseModule } from "../parse/parser.ts";
import type { KernelSyntax, Variable } from "../parse/syntax.ts";
import { liveWords, matrixRegisters } from "./liveness.ts";
import { makeLayout, type Parameter } from "./resolve.ts";
import { bindInstructions, makeSegments } from "./segments.ts";
import type { Segment } from "./segment.ts";
import type { Register, Site } from "./site.ts";

export interface Kernel {
  readonly name: string;
  readonly sites: readonly Site[];
  readonly segments: readonly Segment[];
  readonly registers: readonly Register[];
  /** 32-bit words of a warp's register file. */
  readonly registerWords: number;
  /** The most 32-bit registers that are live at once in a thread: an estimate of what ptxas allocates. */
  readonly liveRegisters: number;
  /** Of those, accumulators and fragments of wgmma, which nothing can do without. */
  readonly matrixRegisters: number;
  readonly params: readonly Parameter[];
  readonly paramBytes: number;
  /** Static shared memory, up to where the dynamic part starts. */
  readonly sharedBytes: number;
  readonly dynamicAlign: number;
  readonly localBytes: number;
  readonly directives: ReadonlyMap<string, readonly number[]>;
  readonly usesWgmma: boolean;
}

export interface Module {
  /** Such as "sm_90a". */
  readonly target: string;
  readonly kernels: ReadonlyMap<string, Kernel>;
  /** Global and constant variables, in the order that kernels number them. */
  readonly variables: readonly Variable[];
}

function makeKernel(syntax: KernelSyntax, moduleVariables: readonly Variable[]): Kernel {
  const layout = makeLayout(syntax, moduleVariables);
  const bound = bindInstructions(syntax, layout);
  if (bound.length > 0xffff)
    throw new SimulateError(
      `${syntax.name} has ${bound.length} instructions; I number at most 65535`,
      syntax.line,
    );
  const live = liveWords(bound, syntax, matrixRegisters(bound));
  const segments = makeSegments(syntax, bound, layout, live);
  return {
    name: syntax.name,
    sites: bound.map((b) => b.site),
    segments,
    registers: layout.registers,
    registerWords: Math.ceil(layout.words / 2) * 2,
    liveRegisters: Math.max(0, ...liveWords(bound, syntax, undefined)),
    matrixRegisters: Math.max(0, ...live),
    params: layout.params,
    paramBytes: layout.paramBytes,
    sharedBytes: layout.sharedBytes,
    dynamicAlign: layout.dynamicAlign,
    localBytes: layout.localBytes,
    directives: syntax.directives,
    usesWgmma: segments.some((segment) => segment.wgmma),
  };
}

/** Reads PTX text and compiles its kernels. Throws a `SimulateError` that names whatever it does not know. */
export function loadModule(ptx: string): Module {
  const syntax = parseModule(ptx);
  const variables = syntax.variables.filter((v) => v.space === "global" || v.space === "const");
  for (const variable of variables) {
    if (variable.external)
      throw new SimulateError(`${variable.name} is external; I link nothing`, variable.line);
  }
  const entries = syntax.kernels.filter((kernel) => kernel.entry);
  const kernels = new Map(entries.map((kernel) => [kernel.name, makeKernel(kernel, syntax.variables)]));
  return { target: syntax.target, kernels, variables };
}
