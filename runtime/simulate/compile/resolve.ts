/** Gives names their meaning: registers their place in the register file, variables their addresses. */
import { SimulateError } from "../finding.ts";
import {
  typeBytes,
  variableBytes,
  type Instruction,
  type KernelSyntax,
  type Operand,
  type Scope,
  type Variable,
} from "../parse/syntax.ts";
import type { Register, Value } from "./site.ts";
import { isSpecial } from "./special.ts";

/** Where the variables of a kernel lie. */
export interface Layout {
  readonly registers: Register[];
  /** Words of the register file. */
  words: number;
  readonly places: Map<Variable, Value>;
  readonly registerOf: Map<Variable, Register>;
  sharedBytes: number;
  /** Alignment of the dynamic shared memory, 0 where the kernel has none. */
  dynamicAlign: number;
  readonly dynamic: Variable[];
  localBytes: number;
  paramBytes: number;
  readonly params: readonly Parameter[];
  /** Global and constant variables that the kernel may name, by index. */
  readonly globals: readonly Variable[];
}

export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly offset: number;
  readonly bytes: number;
}

const up = (n: number, to: number): number => Math.ceil(n / to) * to;
const alignOf = (variable: Variable): number =>
  variable.align || typeBytes(variable.type) * variable.vector || 1;

export function makeLayout(kernel: KernelSyntax, moduleVariables: readonly Variable[]): Layout {
  const globals = moduleVariables.filter((v) => v.space === "global" || v.space === "const");
  const params: Parameter[] = [];
  const layout: Layout = {
    registers: [],
    words: 32,
    places: new Map(),
    registerOf: new Map(),
    sharedBytes: 0,
    dynamicAlign: 0,
    dynamic: [],
    localBytes: 0,
    paramBytes: 0,
    params,
    globals,
  };
  globals.forEach((variable, index) =>
    layout.places.set(variable, { kind: "symbol", space: "global", offset: index, name: variable.name }),
  );
  for (const variable of kernel.params) {
    const offset = up(layout.paramBytes, alignOf(variable));
    layout.places.set(variable, { kind: "symbol", space: "param", offset, name: variable.name });
    params.push({ name: variable.name, type: variable.type, offset, bytes: variableBytes(variable) });
    layout.paramBytes = offset + variableBytes(variable);
  }
  for (const variable of [...moduleVariables, ...kernel.variables]) placeVariable(layout, variable);
  // Dynamic shared memory follows the static variables; every extern array names the same place (PTX ISA 5.1.6.1).
  const start =
    layout.dynamic.length === 0 ? layout.sharedBytes : up(layout.sharedBytes, layout.dynamicAlign);
  for (const variable of layout.dynamic)
    layout.places.set(variable, { kind: "symbol", space: "shared", offset: start, name: variable.name });
  layout.sharedBytes = start;
  return layout;
}

function placeVariable(layout: Layout, variable: Variable): void {
  if (variable.space === "local") {
    const offset = up(layout.localBytes, alignOf(variable));
    layout.places.set(variable, { kind: "symbol", space: "local", offset, name: variable.name });
    layout.localBytes = offset + variableBytes(variable);
  }
  if (variable.space !== "shared") return;
  if (variable.external || variable.extent < 0) {
    layout.dynamicAlign = Math.max(layout.dynamicAlign, alignOf(variable), 16);
    layout.dynamic.push(variable);
    return;
  }
  const offset = up(layout.sharedBytes, alignOf(variable));
  layout.places.set(variable, { kind: "symbol", space: "shared", offset, name: variable.name });
  layout.sharedBytes = offset + variableBytes(variable);
}

function registerFor(layout: Layout, variable: Variable): Register {
  const old = layout.registerOf.get(variable);
  if (old !== undefined) return old;
  const bits = variable.type === "pred" ? 1 : Math.max(16, typeBytes(variable.type) * 8);
  if (bits !== 1 && bits !== 16 && bits !== 32 && bits !== 64) {
    throw new SimulateError(`I do not know registers of type ${variable.type}`, variable.line);
  }
  if (bits === 64) layout.words = up(layout.words, 2);
  const register: Register = { name: variable.name, bits, base: layout.words, id: layout.registers.length };
  layout.words += bits === 1 ? 1 : bits === 64 ? 64 : 32;
  layout.registers.push(register);
  layout.registerOf.set(variable, register);
  return register;
}

export function findVariable(scope: Scope, name: string): Variable | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) {
    const variable = at.variables.get(name);
    if (variable !== undefined) return variable;
  }
  return undefined;
}

export function findLabel(scope: Scope, name: string): number | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) {
    const label = at.labels.get(name);
    if (label !== undefined) return label;
  }
  return undefined;
}

export function resolveName(layout: Layout, instruction: Instruction, name: string, negated: boolean): Value {
  const variable = findVariable(instruction.scope, name);
  if (variable !== undefined) {
    if (variable.space === "reg")
      return { kind: "register", register: registerFor(layout, variable), negated };
    const place = layout.places.get(variable);
    if (place !== undefined) return place;
  }
  if (isSpecial(name)) return { kind: "special", name };
  throw new SimulateError(`${name} is not declared`, instruction.line);
}

export function resolve(layout: Layout, instruction: Instruction, operand: Operand): Value {
  switch (operand.kind) {
    case "name":
      return resolveName(layout, instruction, operand.name, operand.negated);
    case "vector":
      return { kind: "vector", items: operand.items.map((item) => resolve(layout, instruction, item)) };
    case "pair":
      return {
        kind: "pair",
        first: resolve(layout, instruction, operand.first),
        second: resolve(layout, instruction, operand.second),
      };
    case "beyond": {
      const base = resolve(layout, instruction, operand.base);
      // What a global variable's symbol has is its number, not its place.
      if (base.kind !== "symbol" || base.space === "global")
        throw new SimulateError(
          "I know offsets from shared, local and parameter variables",
          instruction.line,
        );
      return { ...base, offset: base.offset + operand.offset };
    }
    case "address": {
      const coordinates =
        operand.coordinates === undefined
          ? []
          : operand.coordinates.kind === "vector"
            ? operand.coordinates.items
            : [operand.coordinates];
      return {
        kind: "address",
        base: resolve(layout, instruction, operand.base),
        offset: operand.offset,
        coordinates: coordinates.map((item) => resolve(layout, instruction, item)),
      };
    }
    default:
      return operand;
  }
}
