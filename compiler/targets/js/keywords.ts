/** Names that a generated JavaScript module must not give to anything of its own. */
export const jsReserved: readonly string[] = [
  ..."arguments as async await break case catch class const continue debugger default delete do else enum eval export extends".split(
    " ",
  ),
  ..."false finally for from function get if implements import in instanceof interface let new null of package private".split(
    " ",
  ),
  ..."protected public return set static super switch this throw true try typeof undefined var void while with yield".split(
    " ",
  ),
  ..."Array BigInt Boolean Infinity Math NaN Number Object globalThis".split(" "),
  ..."BigInt64Array Float32Array Int32Array Uint16Array Uint32Array Uint8Array".split(" "),
];
