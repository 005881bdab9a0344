/** Pages about what is compiled for given sizes and a target. */
import type { Page } from "../pages.ts";

export const lowerPages: Readonly<Record<string, Page>> = {
  WF2701: {
    title: "claim that fails for these sizes",
    page: `The program claims a relation of sizes, by a 'where', an 'as', a rename or a built-in, and the sizes it is
compiled or run with do not satisfy it. Give sizes that do; the message shows both sides.`,
  },
  WF2702: {
    title: "dtype parameter not given",
    page: `What is compiled by itself has definite dtypes. Bind each type parameter as a dim is bound: '--dims W=bf16'.`,
  },
  WF2703: {
    title: "dtype outside its class",
    page: `A type parameter is bound to a dtype that its class excludes: 'float' takes floats, 'int' integers, 'weight'
any stored float.`,
  },
  WF2704: {
    title: "'...' in a compiled function",
    page: `A function whose signature has '...' takes any leading axes, so what is compiled by itself has to be told which:
'--dims ...=4x128' gives their sizes, '--dims ...=BxS' names of sizes that stay open, or that --dims gives as it gives
others; '--dims ...=' says that there are none. 'weft run --input FILE' takes them from the file's tensors. A name stands
for one axis: none that the signature has already.`,
  },
  WF2705: {
    title: "ragged rows across the border",
    page: `What is compiled by itself takes and gives 'x: A[E, R[E], D]' as 'x: A[R_rows, D]', the rows of all experts one
behind another, and 'R: i32[E]', how many each has. Parameters of modules, tensors with block scales or several ragged
axes, rows that do not stand behind their experts' axis, and results of one name for two sets of rows cannot cross.`,
  },
  WF2706: {
    title: "rows of one expert in a loop",
    page: `A 'for' over the rows R[e] stands inside an expression that fixes e. Range over both in one 'for':
'for e, t, d: ..'.`,
  },
  WF2707: {
    title: "opaque value across the border",
    page: `A routing plan or a module cannot be an argument or result of what is compiled by itself. Compile the function
that makes and uses it.`,
  },
  WF2708: {
    title: "two inputs of one name",
    page: `The inputs of a compiled function go by name, held modules by 'attn.w_dq', so two of one name cannot be told apart.`,
  },
  WF2709: {
    title: "size that does not fit",
    page: `With the sizes given, a size is negative, above 2^53 - 1, or a division by 0. Give other sizes.`,
  },
  WF2710: {
    title: "blocks that no longer lie whole",
    page: `A block-scaled tensor is returned after its axes were cut or joined, so that its blocks are spread. Return it
as it was quantized, or dequantize it first.`,
  },
  WF2711: {
    title: "too many axes",
    page: `What one loop computes has more than 24 axes, with those that it reduces over. Merge axes that are always
used together, as in 'x as [A * B, C]'.`,
  },
  WF3701: {
    title: "reassociation that does not apply",
    page: `A step of a 'derive' moves a factor into a parameter or after a sum, where the algebra of sums of products
allows it: the factor's summed axes must be those that move, and nothing between may be nonlinear in them.`,
  },
  WF3702: {
    title: "declared bound does not hold",
    page: `'numerics' allows factors that are scaled by block, such as 'contract: e4m3 @ (1, 128), (128, 128)', as long as
results are within the 'bound' that it declares. For this contraction the derived bound is larger, so it keeps the
program's own types. 'weft explain FILE:FN' says of each contraction whether it was scaled, and why not.`,
  },
  WF6010: {
    title: "unknown target",
    page: `A target is one of those that the message lists, such as ptx:sm_90a, cuda, wgsl or js.`,
  },
  WF6011: {
    title: "no such entry",
    page: `What is compiled is a function of the file, 'fn' or 'Module.fn'. The message lists them or the nearest.`,
  },
  WF6012: {
    title: "ambiguous entry",
    page: `Several modules have a function of that name. Write 'Module.fn'.`,
  },
  WF6013: {
    title: "tensor too large for the target",
    page: `The target's indices have 32 bits, and the tensor more than 2^31 - 1 elements. ptx and cuda have 64-bit offsets.`,
  },
};
