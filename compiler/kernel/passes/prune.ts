/** Removes ops whose results nobody uses: pure ones and loads. Users stand after what they use, so one walk from the end is enough. */
import type { Kernel, Op, Value } from "../ir.ts";
import { partsOf } from "../walk.ts";

export function prune(kernel: Kernel): Kernel {
  const body = pruneBody(kernel.body, new Set());
  return body.length === kernel.body.length && body.every((op, k) => op === kernel.body[k]) ? kernel : { ...kernel, body };
}

function pruneBody(ops: readonly Op[], used: Set<Value>): readonly Op[] {
  const kept: Op[] = [];
  for (const op of ops.toReversed()) {
    const parts = partsOf(op);
    if (hasNoEffect(op) && parts.results.every((value) => !used.has(value))) continue;
    // A body's values are used within it or in a body inside it, never after it.
    const whole = op.kind === "for" ? { ...op, body: pruneBody(op.body, used) }
      : op.kind === "if" ? { ...op, then: pruneBody(op.then, used), else: pruneBody(op.else, used) } : op;
    for (const value of parts.operands) used.add(value);
    kept.push(sameParts(op, whole) ? op : whole);
  }
  return kept.toReversed();
}

function sameParts(a: Op, b: Op): boolean {
  const [x, y] = [partsOf(a).bodies, partsOf(b).bodies];
  return x.every((body, k) => body.length === y[k]?.length && body.every((op, i) => op === y[k]?.[i]));
}

function hasNoEffect(op: Op): boolean {
  switch (op.kind) {
    case "const":
    case "size":
    case "thread":
    case "lane":
    case "block":
    case "unary":
    case "binary":
    case "fma":
    case "select":
    case "convert":
    case "bitcast":
    case "pack":
    case "unpack":
    case "get":
    case "load":
      return true;
    case "var":
    case "set":
    case "store":
    case "atomic":
    case "barrier":
    case "shuffle-xor":
    case "shuffle-index":
    case "instruction":
    case "for":
    case "if":
    case "line":
    case "comment":
      return false;
  }
}
