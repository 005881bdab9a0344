/** Pages about names, files and declarations. */
import type { Page } from "../pages.ts";

export const namePages: Readonly<Record<string, Page>> = {
  WF2001: {
    title: "unknown name",
    page: `A name is used that nothing declares: no parameter, 'let' above this line, index variable, member of the
module, declaration of the file, import, or built-in function. A 'let' is in scope after its own line.

    for n: y[n]               // no y: did you mean x?

Declare it, import it, or correct the spelling.`,
  },
  WF2002: {
    title: "unknown size",
    page: `A size is used in a body that neither the signature nor a 'dim' of the file declares. A signature's own
types may name any size: 'fn f(x: f32[N])' needs no declaration of N.

    dim N, D
    let k: f32[N, E] = ..     // E is not declared

Add it: 'dim N, D, E'.`,
  },
  WF2003: {
    title: "unknown type",
    page: `A type is a dtype (f32 f16 bf16 e4m3 e5m2 i64 i32 u32 i8 u8 bool, or e5m6 and its like), a type parameter, a module, or one of
the built-in Paged and Plan. A type parameter is declared where it is used: 'fn f<A: float>(x: A[N])'.`,
  },
  WF2004: {
    title: "declared twice",
    page: `Two declarations of one file or module, two variables of one 'for', or an import and a declaration have
the same name. A 'let' may hide an earlier name; a declaration may not.`,
  },
  WF2006: {
    title: "file not found",
    page: `An import names a file that is not there. A path is relative to the file that imports:

    import "./blocks.dsl" { Mlp }

'std.nn' and its like are the standard library.`,
  },
  WF2007: {
    title: "name not in the imported file",
    page: `The imported file has no declaration of that name. Functions, modules, consts and dims can be imported.`,
  },
  WF2008: {
    title: "imports in a circle",
    page: `A file imports, through others or directly, itself; or a module holds itself. Move what both need into a
third file that both import.`,
  },
  WF2009: {
    title: "import from outside the project",
    page: `Imports stay inside the project: no absolute paths, no URLs, no '..' past the project's root. A program
then means the same on every machine, and a file cannot make the compiler read another.`,
  },
  WF2010: { title: "too many files", page: `A program has at most 256 files. Join some of them.` },
  WF2022: {
    title: "circle of calls",
    page: `A function is put in place where it is called, so it cannot call itself, directly or through others. Repeat
with 'for' and reductions; stack layers in the program that calls the compiled function.`,
  },
  WF2027: {
    title: "no such field or method",
    page: `A record has the fields of its type, a module its params and functions, a Paged cache 'append', 'read' and
'visible'. Nothing else has fields.`,
  },
  WF2028: {
    title: "not a value, or not a function",
    page: `A function or module is used as a value, or something that is not a function is called. Functions are called
with their arguments: 'f(x)'. A name of your own hides a built-in of the same name:

    let sum = ..
    sum[k](x[k])              // 'sum' is your value now`,
  },
  WF2040: {
    title: "not known at compile time",
    page: `A 'const' and the default of a parameter are made of numbers, dims, other consts and scalar functions:

    const scale = rsqrt(Dh)`,
  },
  WF2041: {
    title: "signature without a body",
    page: `A function that has only a signature documents a form; it cannot be called or compiled. Give it a body.`,
  },
  WF2042: {
    title: "name in a derive step",
    page: `'derive g from f by reassociate { w into q, u after p }' moves weights of f: 'w' and 'u' are params of the
module or parameters of f, 'q' and 'p' are parameters or 'let's of f.`,
  },
  WF2043: {
    title: "unknown rewrite",
    page: `The rewrite of a 'derive' is 'reassociate'. 'cheaper' makes the same form and takes it where it has fewer
FLOPs than the function it is derived from, at the sizes that are compiled for.`,
  },
};
