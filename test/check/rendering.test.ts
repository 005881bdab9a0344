/** The three ways out of a diagnostic: a terminal, JSON, SARIF. */
import { describe, expect, test } from "vitest";
import { axisMismatch } from "../../compiler/diagnostics/axes.ts";
import type { Diagnostic } from "../../compiler/diagnostics/diagnostic.ts";
import { toJson } from "../../compiler/diagnostics/json.ts";
import { nearNames } from "../../compiler/diagnostics/near.ts";
import { lineTable, positionOf } from "../../compiler/diagnostics/position.ts";
import { renderDiagnostics } from "../../compiler/diagnostics/render.ts";
import { sarifLimits, toSarif } from "../../compiler/diagnostics/sarif.ts";

const text = "first line\r\n\tlet k = q[s]\nthird";
const sources = new Map([["a b/x.dsl", text]]);
const at = text.indexOf("s]");
const one: Diagnostic = axisMismatch(
  { file: "a b/x.dsl", start: at, end: at + 1 },
  {
    found: "S",
    wanted: "T",
    detail: "k is [T]",
    help: "use t",
    more: [{ place: { file: "a b/x.dsl", start: 0, end: 5 }, text: "written here" }],
  },
);

describe("a terminal", () => {
  test("shows place, code, message, line, caret, types and help", () => {
    expect(renderDiagnostics([one], { colour: false, sources })).toBe(
      [
        "a b/x.dsl:2:12 error[WF2012]: axis 'S' used where 'T' is expected",
        "   2 |   let k = q[s]",
        "     |             ^ k is [T]",
        "  a b/x.dsl:1:1: written here",
        "   1 | first line",
        "     | ^^^^^",
        "  help: use t",
        "",
      ].join("\n"),
    );
  });

  test("colours only where asked", () => {
    const escape = String.fromCharCode(27);
    expect(renderDiagnostics([one], { colour: true, sources })).toContain(`${escape}[1;31merror${escape}[0m`);
    expect(renderDiagnostics([one], { colour: false, sources })).not.toContain(escape);
  });

  test("a long line is cut to a window that holds the caret", () => {
    const long = `${"a".repeat(5000)}HERE${"b".repeat(5000)}`;
    const shown = renderDiagnostics(
      [{ ...one, labels: [{ place: { file: "l", start: 5000, end: 5004 }, text: "" }] }],
      { colour: false, sources: new Map([["l", long]]) },
    ).split("\n");
    const [, source = "", caret = ""] = shown;
    expect(source.length).toBeLessThan(130);
    expect(source.slice(caret.indexOf("^"), caret.lastIndexOf("^") + 1)).toBe("HERE");
  });

  test("control and direction characters do not reach the terminal", () => {
    const evil = `x\u001b[2J\u202e\u0007\u200by`;
    const shown = renderDiagnostics(
      [
        {
          ...one,
          message: `bad ${evil}`,
          labels: [{ place: { file: `f${evil}`, start: 0, end: 1 }, text: evil }],
        },
      ],
      { colour: false, sources: new Map([[`f${evil}`, evil]]) },
    );
    expect(
      [...shown].filter(
        (c) => c !== "\n" && (c < " " || /[\u007f-\u009f\u200b-\u200f\u2028-\u202e]/.test(c)),
      ),
    ).toEqual([]);
  });

  test("a place beyond the text is no exception", () => {
    expect(
      renderDiagnostics([{ ...one, labels: [{ place: { file: "gone", start: 99, end: 120 }, text: "" }] }], {
        colour: false,
        sources,
      }),
    ).toContain("gone:1:1 error[WF2012]");
  });
});

describe("machines", () => {
  test("JSON counts lines and columns from 1", () => {
    expect(toJson([one], sources)).toEqual([
      {
        code: "WF2012",
        severity: "error",
        message: "axis 'S' used where 'T' is expected",
        file: "a b/x.dsl",
        range: { start: { line: 2, column: 12, offset: at }, end: { line: 2, column: 13, offset: at + 1 } },
        label: "k is [T]",
        related: [
          {
            file: "a b/x.dsl",
            start: { line: 1, column: 1, offset: 0 },
            end: { line: 1, column: 6, offset: 5 },
            message: "written here",
          },
        ],
        help: "use t",
      },
    ]);
  });

  test("SARIF has rules, regions, fingerprints, and keeps within a scanner's limits", () => {
    const log = toSarif([one, one], sources, { version: "0.1.0" });
    expect(log).toMatchObject({
      version: "2.1.0",
      runs: [
        {
          tool: {
            driver: { name: "weft", rules: [{ id: "WF2012", shortDescription: { text: "axis mismatch" } }] },
          },
          columnKind: "utf16CodeUnits",
          results: [
            {
              ruleId: "WF2012",
              ruleIndex: 0,
              level: "error",
              locations: [
                {
                  physicalLocation: {
                    artifactLocation: { uri: "a%20b/x.dsl" },
                    region: { startLine: 2, startColumn: 12, endLine: 2, endColumn: 13 },
                  },
                },
              ],
              relatedLocations: [{ id: 0 }],
            },
            { ruleId: "WF2012" },
          ],
        },
      ],
    });
    const prints = JSON.stringify(log).match(/weft\/v1":"[^"]+/g) ?? [];
    expect(new Set(prints).size).toBe(2);
    const many = toSarif(
      Array.from({ length: sarifLimits.results + 3 }, () => one),
      sources,
      { version: "0" },
    );
    expect(JSON.stringify(many).match(/"ruleIndex"/g)).toHaveLength(sarifLimits.results);
    expect(JSON.stringify(many)).toContain("3 more results are left out");
  });
});

test("positions by binary search agree with counting", () => {
  const table = lineTable("a\nb\r\nc\rd\n\n");
  expect([0, 1, 2, 3, 5, 6, 7, 8, 9, 10].map((offset) => positionOf(table, offset))).toEqual([
    { line: 1, column: 1 },
    { line: 1, column: 2 },
    { line: 2, column: 1 },
    { line: 2, column: 2 },
    { line: 3, column: 1 },
    { line: 3, column: 2 },
    { line: 4, column: 1 },
    { line: 4, column: 2 },
    { line: 5, column: 1 },
    { line: 6, column: 1 },
  ]);
});

test("near names", () => {
  const known = ["softmax", "sigmoid", "rmsnorm", "Dm", "Dn", "x"];
  expect(nearNames("sofmax", known)).toEqual(["softmax"]);
  expect(nearNames("sigmiod", known)).toEqual(["sigmoid"]);
  expect(nearNames("SOFTMAX", known)).toEqual(["softmax"]);
  expect(nearNames("entirely", known)).toEqual([]);
});
