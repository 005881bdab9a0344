/** Lane instructions: against a table made by hand, and every form of the simulator's table against ptxas. */
import { describe, expect, test } from "vitest";
import { rows } from "../../runtime/simulate/table/index.ts";
import { assemble, header, run } from "./harness.ts";
import { hasPtxas, needing } from "../targets/ptx/tools.ts";
import { instructionCases } from "./instruction-cases.ts";
import { semantics, type Semantics } from "./semantics.ts";

/** A kernel that executes one instruction and stores 8 bytes. */
function kernelOf([opcode, result, operands]: Semantics): string {
  const declare = (name: string, type: string): string => `.reg .${type} ${name};`;
  const loads = operands.map((operand, i) => {
    const [type, bits] = operand.split(":");
    if (operand.startsWith("=")) return "";
    return type === "pred" ? `setp.eq.u32 v${i}, ${bits}, 1;` : `mov.${type} v${i}, 0x${bits};`;
  });
  const declared = operands.map((operand, i) =>
    operand.startsWith("=") ? "" : declare(`v${i}`, operand.split(":")[0]!),
  );
  const names = operands.map((operand, i) => (operand.startsWith("=") ? operand.slice(1) : `v${i}`));
  const store =
    result === "pred" ? "selp.b32 w, 1, 0, vd; st.global.b32 [out], w;" : `st.global.${result} [out], vd;`;
  return `${header()}
.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .b64 in, out, z; .reg .b32 w; ${declare("vd", result)} ${declared.join(" ")}
  ld.param.u64 out, [pOut];
  cvta.to.global.u64 out, out;
  mov.b64 z, 0;
  st.global.b64 [out], z;
  ${loads.join("\n  ")}
  ${opcode} vd, ${names.join(", ")};
  ${store}
  ret;
}
`;
}

describe("semantics by hand", () => {
  test.each(semantics.map((entry) => [`${entry[0]} ${entry[2].join(" ")}`, entry] as const))(
    "%s",
    (_, entry) => {
      const { report, out } = run(kernelOf(entry), new Uint8Array(16), 8, { block: [1, 1, 1] });
      expect(report.findings).toEqual([]);
      expect(new BigUint64Array(out.slice().buffer)[0]!.toString(16)).toBe(entry[3].toString(16));
    },
  );

  test("every lane instruction of the table has a line", () => {
    const aboutAddresses = /^(cvta|isspacep|mapa|getctarank)/;
    const withCarry = /\.cc\b|^addc|^subc|^madc/;
    const heads = new Set(
      rows
        .filter((row) => "is" in row && !aboutAddresses.test(row.pattern) && !withCarry.test(row.pattern))
        .map((row) => row.pattern.split(".")[0]!),
    );
    const tested = new Set(semantics.map(([opcode]) => opcode.split(".")[0]!));
    expect([...heads].filter((head) => !tested.has(head))).toEqual([]);
  });
});

describe("every form of the table", () => {
  const cases = instructionCases();

  test("runs, and gives a result", { timeout: 120_000 }, () => {
    for (const c of cases)
      expect([c.name, run(c.ptx, c.input, 512, { block: [64, 1, 1] }).report.findings]).toEqual([c.name, []]);
  });

  test.skipIf(!hasPtxas)(needing("ptxas", hasPtxas, "is valid PTX"), { timeout: 120_000 }, () => {
    const entries = cases.map(
      (c, i) => `.visible ${c.ptx.split(".visible ")[1]!.replace("entry test(", `entry test${i}(`)}`,
    );
    expect(assemble(header() + entries.join("\n"))).toBe(undefined);
  });

  test("rows name a section of the manual", () => {
    for (const row of rows)
      expect([row.pattern, /^9\.7\.\d+(\.\d+)*$/.test(row.section)]).toEqual([row.pattern, true]);
  });
});

test("extended precision: a 128-bit sum and difference by carries", () => {
  const ptx = `${header()}
.visible .entry test(.param .u64 pIn, .param .u64 pOut)
{
  .reg .b64 out, a, b; .reg .b32 c, d;
  ld.param.u64 out, [pOut]; cvta.to.global.u64 out, out;
  mov.b64 a, 0xffffffffffffffff;
  add.cc.u64 b, a, 1;
  addc.u64 a, 5, 6;
  st.global.v2.b64 [out], {b, a};
  sub.cc.u32 c, 0, 1;
  subc.u32 d, 7, 0;
  st.global.v2.b32 [out+16], {c, d};
  mad.lo.cc.u32 c, 0x10000, 0x10000, 0xffffffff;
  madc.hi.u32 d, 0x10000, 0x10000, 0;
  st.global.v2.b32 [out+24], {c, d};
  ret;
}
`;
  const { out } = run(ptx, new Uint8Array(16), 32, { block: [1, 1, 1] });
  expect([...new BigUint64Array(out.slice().buffer)]).toEqual([0n, 12n, 0x6_ffffffffn, 0x1_ffffffffn]);
});
