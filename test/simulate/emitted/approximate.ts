/**
 * Rewrites PTX text so that what the hardware gave for its approximate instructions (`ex2.approx` and its kin, PTX ISA
 * 9.7.3) is written down on a GPU, and read back in a simulation. With these values given, all else in a kernel has
 * one right result, and can be compared bit for bit; the values themselves are held to the manual's bounds.
 *
 * A thread's n-th approximate result lies in word `n * threads + thread` of a log.
 */
export type Rewriting =
  /** How many results each thread has: one word a thread. */
  | "count"
  /** Each result to the log. */
  | "record"
  /** Each result from the log, and what it is of to a second log. */
  | "replay";

const approximate = /^(\s*)(@!?%\w+\s+)?((\w+)\.approx[\w.]*)\s+(%\w+),\s*(%\w+);$/gm;

/** Names of the approximate instructions of a text, in their order. Throws for a form that the rewriting misses. */
export function approximateOf(text: string): readonly string[] {
  const found = [...text.matchAll(approximate)].map((match) => match[3] ?? "");
  const all = text.replace(/\/\/.*$/gm, "").match(/\.(approx|full)\b/g) ?? [];
  if (found.length !== all.length)
    throw new Error(`${all.length - found.length} approximate forms are unknown`);
  if (found.some((name) => !name.endsWith(".f32"))) throw new Error(`not of f32: ${found.join(", ")}`);
  return found;
}

/** The text with one more parameter, the log; "replay" has two, the second for what the instructions are of. */
export function rewritten(text: string, how: Rewriting): string {
  const logs = how === "replay" ? ["log_values", "log_inputs"] : ["log_values"];
  const step = (given: string, to: string, from: string): readonly string[] => {
    switch (how) {
      case "count":
        return [`add.u32 %log_count, %log_count, 1;`, `st.global.u32 [%log_values], %log_count;`];
      case "record":
        return [
          `${given} st.global.f32 [%log_values], ${to};`,
          "add.u64 %log_values, %log_values, %log_step;",
        ];
      case "replay":
        return [
          `st.global.f32 [%log_inputs], ${from};`,
          `ld.global.f32 ${to}, [%log_values];`,
          "add.u64 %log_values, %log_values, %log_step;",
          "add.u64 %log_inputs, %log_inputs, %log_step;",
        ];
    }
  };
  const body = text.replace(
    approximate,
    (
      line: string,
      indent: string,
      guard: string | undefined,
      _name: string,
      _op: string,
      to: string,
      from: string,
    ) => {
      const steps = step("", to, from).map((part) => `${indent}${guard ?? ""}${part.trim()}`);
      return [...(how === "replay" ? [] : [line]), ...steps].join("\n");
    },
  );
  const parameters = logs.map((name) => `    .param .u64 ${name}`).join(",\n");
  return body
    .replace(/(\.visible \.entry \w+\()([\s\S]*?)\n\)/, (_, head: string, list: string) => {
      const last = list.replace(/(\s*\/\/[^\n]*)$/, ",$1");
      const given = last === list ? `${list},` : last;
      return `${head}${given}\n${parameters}\n)`;
    })
    .replace(/^\{$/m, `{\n${prologue(logs)}`);
}

/** Each log's pointer at the thread's own first word. */
function prologue(logs: readonly string[]): string {
  const at = [
    "mov.u32 %log_count, %ctaid.z;",
    "mov.u32 %log_size, %nctaid.y;",
    "mov.u32 %log_at, %ctaid.y;",
    "mad.lo.u32 %log_count, %log_count, %log_size, %log_at;",
    "mov.u32 %log_size, %nctaid.x;",
    "mov.u32 %log_at, %ctaid.x;",
    "mad.lo.u32 %log_count, %log_count, %log_size, %log_at;",
    "mov.u32 %log_size, %ntid.x;",
    "mov.u32 %log_at, %tid.x;",
    "mad.lo.u32 %log_count, %log_count, %log_size, %log_at;",
  ];
  const pointers = logs.flatMap((name) => [
    `ld.param.u64 %${name}, [${name}];`,
    `mad.wide.u32 %${name}, %log_count, 4, %${name};`,
  ]);
  const step = [
    "mov.u32 %log_at, %nctaid.x;",
    "mul.lo.u32 %log_size, %log_size, %log_at;",
    "mov.u32 %log_at, %nctaid.y;",
    "mul.lo.u32 %log_size, %log_size, %log_at;",
    "mov.u32 %log_at, %nctaid.z;",
    "mul.lo.u32 %log_size, %log_size, %log_at;",
    "mul.wide.u32 %log_step, %log_size, 4;",
    "mov.u32 %log_count, 0;",
  ];
  return [
    ".reg .b32 %log_count, %log_size, %log_at;",
    `.reg .b64 %log_step, ${logs.map((name) => `%${name}`).join(", ")};`,
    ...at,
    ...pointers,
    ...step,
  ]
    .map((line) => `    ${line}`)
    .join("\n");
}
