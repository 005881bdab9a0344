/**
 * Case files: a kernel, and what each target makes of it, whole. The first line names the targets; `BLESS=1`
 * rewrites the sections. Every kernel verifies before and after legalize, and prints as it is written.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseKernel } from "../../compiler/kernel/parse.ts";
import { printKernel } from "../../compiler/kernel/print.ts";
import { parseTarget } from "../../compiler/targets/index.ts";
import { checkKernel } from "./execute.ts";

const folder = new URL("cases/", import.meta.url);
const mark = "; ---- emit ";

describe("kernel cases", () => {
  for (const file of readdirSync(folder).sort()) {
    test(file.replace(".case", "").replaceAll("-", " "), () => {
      const path = new URL(file, folder);
      const text = readFileSync(path, "utf8");
      const [head = "", ...sections] = text.split(mark);
      const names = (/^; emit (.*)$/m.exec(head)?.[1] ?? "").split(" ");
      const kernel = parseKernel(head);
      checkKernel(kernel);
      expect(head.slice(head.indexOf("kernel "))).toBe(`${printKernel(kernel)}`);
      const emitted = names.map((name) => `${name}\n${emit(name, head)}`);
      if (process.env["BLESS"] === "1") writeFileSync(path, [head, ...emitted].join(mark));
      else expect(sections).toEqual(emitted);
    });
  }
});

function emit(name: string, text: string): string {
  const chosen = parseTarget(name);
  if (chosen === undefined) throw new Error(`there is no target ${name}`);
  const { target, caps } = chosen;
  const legal = target.legalize(parseKernel(text), caps);
  checkKernel(legal);
  return target.emit(legal, caps).text;
}
