/** Reads PTX text into its syntax tree (PTX ISA 4, 5.4, 11). Directives that change no meaning are passed over by name; any other is an error. */
import { SimulateError, type SourceLine } from "../finding.ts";
import { parseOperand, type Cursor } from "./operands.ts";
import type {
  Guard,
  Instruction,
  KernelSyntax,
  ModuleSyntax,
  Operand,
  Scope,
  StateSpace,
  Variable,
} from "./syntax.ts";
import { tokenize, type Token } from "./tokens.ts";

const spaces: ReadonlySet<string> = new Set([".reg", ".shared", ".local", ".global", ".const", ".param"]);
const linkage: ReadonlySet<string> = new Set([".visible", ".weak", ".common"]);
const kernelDirectives: ReadonlySet<string> = new Set([
  ".maxntid",
  ".reqntid",
  ".maxnreg",
  ".minnctapersm",
  ".maxnctapersm",
  ".noreturn",
  ".reqnctapercluster",
  ".maxclusterrank",
  ".explicitcluster",
]);

interface Body {
  readonly instructions: Instruction[];
  readonly variables: Variable[];
  readonly targets: Map<string, readonly string[]>;
}

/** Hidden state: the place in the token list, the files that `.file` named, and the latest `.loc`. */
class Parser implements Cursor {
  private readonly text: string;
  private readonly tokens: readonly Token[];
  private next = 0;
  private readonly files = new Map<number, string>();
  private source: SourceLine | undefined;

  constructor(text: string) {
    this.text = text;
    this.tokens = tokenize(text);
  }

  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.next + ahead, this.tokens.length - 1)]!;
  }

  take(): Token {
    return this.tokens[this.next < this.tokens.length - 1 ? this.next++ : this.next]!;
  }

  accept(text: string): boolean {
    if (this.peek().text !== text || this.peek().kind === "string") return false;
    this.next++;
    return true;
  }

  expect(text: string): Token {
    const token = this.take();
    if (token.text !== text) this.fail(`I expected "${text}" and found "${token.text}"`, token);
    return token;
  }

  fail(message: string, token: Token = this.peek()): never {
    throw new SimulateError(message, token.line);
  }

  private number(): number {
    const token = this.take();
    const value = Number(token.text.replace(/U$/, ""));
    if (token.kind !== "number" || Number.isNaN(value))
      this.fail(`I expected a number and found "${token.text}"`, token);
    return value;
  }

  private word(): string {
    const token = this.take();
    if (token.kind !== "word") this.fail(`I expected a name and found "${token.text}"`, token);
    return token.text;
  }

  module(): ModuleSyntax {
    const scope: Scope = { outer: undefined, variables: new Map(), labels: new Map() };
    const variables: Variable[] = [];
    const kernels: KernelSyntax[] = [];
    let version = "";
    let target = "";
    while (this.peek().kind !== "end") {
      const external = this.linkage();
      const token = this.peek();
      if (token.text === ".version") {
        this.take();
        version = this.take().text;
      } else if (token.text === ".target") {
        this.take();
        target = this.word();
        while (this.accept(",")) this.word();
      } else if (token.text === ".address_size") {
        this.take();
        if (this.number() !== 64) this.fail("I simulate 64-bit addresses only", token);
      } else if (token.text === ".entry" || token.text === ".func") {
        const kernel = this.kernel(scope);
        if (kernel !== undefined) kernels.push(kernel);
      } else if (spaces.has(token.text)) {
        variables.push(...this.declaration(scope, external));
      } else if (!this.skippable()) this.fail(`I do not know ${token.text} at the top of a module`);
    }
    if (version === "") throw new SimulateError("the module has no .version", 1);
    if (target === "") throw new SimulateError("the module has no .target", 1);
    return { version, target, variables, kernels, scope };
  }

  private linkage(): boolean {
    let external = false;
    for (;;) {
      if (linkage.has(this.peek().text)) this.take();
      else if (this.accept(".extern")) external = true;
      else return external;
    }
  }

  /** `.file`, `.loc`, `.pragma` and debug sections: known, and without meaning for a run but the position. */
  private skippable(): boolean {
    if (this.accept(".file")) {
      const index = this.number();
      this.files.set(index, JSON.parse(this.take().text) as string);
      while (this.accept(",")) this.number();
      return true;
    }
    if (this.accept(".loc")) {
      const file = this.files.get(this.number()) ?? "?";
      this.source = { file, line: this.number(), column: this.number() };
      while (this.accept(",")) {
        const attribute = this.word();
        if (attribute !== "function_name" && attribute !== "inlined_at")
          this.fail(`I do not know ${attribute} in .loc`);
        this.take();
        while (this.peek().kind === "number" || this.peek().text === "+") this.take();
      }
      return true;
    }
    if (this.accept(".pragma")) {
      while (!this.accept(";")) this.take();
      return true;
    }
    if (this.accept(".section")) {
      while (!this.accept("{")) this.take();
      for (let depth = 1; depth > 0;) {
        const text = this.take().text;
        depth += text === "{" ? 1 : text === "}" ? -1 : 0;
      }
      return true;
    }
    return false;
  }

  private kernel(outer: Scope): KernelSyntax | undefined {
    const start = this.take();
    if (start.text === ".func" && this.peek().text === "(")
      this.fail("I do not simulate .func with results: inline it", start);
    const name = this.word();
    const scope: Scope = { outer, variables: new Map(), labels: new Map() };
    const params: Variable[] = [];
    if (this.accept("(")) {
      while (!this.accept(")")) {
        params.push(this.variable(scope, false));
        this.accept(",");
      }
    }
    const directives = new Map<string, readonly number[]>();
    while (kernelDirectives.has(this.peek().text)) {
      const directive = this.take().text;
      const numbers: number[] = [];
      while (this.peek().kind === "number") {
        numbers.push(this.number());
        this.accept(",");
      }
      directives.set(directive, numbers);
    }
    while (this.skippable());
    if (this.accept(";")) return undefined;
    const body: Body = { instructions: [], variables: [], targets: new Map() };
    this.source = undefined;
    this.expect("{");
    this.statements(scope, body);
    return { name, entry: start.text === ".entry", params, directives, scope, line: start.line, ...body };
  }

  private statements(scope: Scope, body: Body): void {
    while (!this.accept("}")) {
      const token = this.peek();
      if (token.kind === "end") this.fail("the text ends inside a { }");
      if (this.accept("{")) {
        this.statements({ outer: scope, variables: new Map(), labels: new Map() }, body);
      } else if (token.kind === "word" && this.peek(1).text === ":") {
        this.take();
        this.take();
        if (scope.labels.has(token.text)) this.fail(`the label ${token.text} is defined twice`, token);
        if (!this.branchTargets(token.text, body)) scope.labels.set(token.text, body.instructions.length);
      } else if (spaces.has(token.text)) {
        body.variables.push(...this.declaration(scope, false).filter((v) => v.space !== "reg"));
      } else if (!this.accept(";") && !this.skippable()) this.instruction(scope, body.instructions);
    }
  }

  private branchTargets(label: string, body: Body): boolean {
    if (!this.accept(".branchtargets")) return false;
    const names: string[] = [];
    do names.push(this.word());
    while (this.accept(","));
    this.expect(";");
    body.targets.set(label, names);
    return true;
  }

  private instruction(scope: Scope, into: Instruction[]): void {
    const start = this.peek();
    let guard: Guard | undefined;
    if (this.accept("@")) {
      const negated = this.accept("!");
      guard = { negated, name: this.word() };
    }
    const opcode = this.take();
    if (opcode.kind !== "word") this.fail(`I expected an instruction and found "${opcode.text}"`, opcode);
    const operands: Operand[] = [];
    if (this.peek().text !== ";") {
      do operands.push(parseOperand(this));
      while (this.accept(","));
    }
    const end = this.expect(";");
    const text = this.text.slice(start.at, end.at).replace(/\s+/g, " ").trim();
    into.push({
      parts: opcode.text.split("."),
      guard,
      operands,
      line: opcode.line,
      source: this.source,
      text,
      scope,
    });
  }

  /** `.space .align n .type name, name<count>, name[extent] = value;` */
  private declaration(scope: Scope, external: boolean): Variable[] {
    const first = this.variable(scope, external);
    const variables = [first];
    while (this.accept(",")) variables.push(this.declarator(scope, first));
    this.expect(";");
    return variables;
  }

  private variable(scope: Scope, external: boolean): Variable {
    const start = this.take();
    if (!spaces.has(start.text)) this.fail(`I expected a state space and found "${start.text}"`, start);
    let align = 0;
    let vector = 1;
    let type = "";
    for (;;) {
      if (this.accept(".align")) align = this.number();
      else if (this.accept(".v2")) vector = 2;
      else if (this.accept(".v4")) vector = 4;
      else if (this.accept(".ptr")) while (spaces.has(this.peek().text)) this.take();
      else if (this.peek().kind === "directive") type = this.take().text.slice(1);
      else break;
    }
    const space = start.text.slice(1) as StateSpace;
    return this.declarator(scope, {
      name: "",
      space,
      type,
      vector,
      extent: 0,
      align,
      external,
      initial: [],
      line: start.line,
    });
  }

  private declarator(scope: Scope, like: Variable): Variable {
    const token = this.peek();
    const name = this.word();
    if (this.accept("<")) {
      const count = this.number();
      this.expect(">");
      for (let i = 0; i < count; i++) this.declare(scope, { ...like, name: `${name}${i}` }, token);
      return like;
    }
    let extent = 0;
    while (this.accept("[")) {
      extent = (extent || 1) * (this.peek().text === "]" ? -1 : this.number());
      this.expect("]");
    }
    const initial: Operand[] = [];
    if (this.accept("=")) this.initialiser(initial);
    const variable = { ...like, name, extent, initial };
    this.declare(scope, variable, token);
    return variable;
  }

  private initialiser(into: Operand[]): void {
    if (!this.accept("{")) {
      into.push(parseOperand(this));
      return;
    }
    while (!this.accept("}")) {
      this.initialiser(into);
      this.accept(",");
    }
  }

  private declare(scope: Scope, variable: Variable, token: Token): void {
    if (scope.variables.has(variable.name)) this.fail(`${variable.name} is declared twice`, token);
    scope.variables.set(variable.name, variable);
  }
}

export function parseModule(text: string): ModuleSyntax {
  return new Parser(text).module();
}
