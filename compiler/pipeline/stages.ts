/** Which rank holds which stage of which direction. */
import type { Place, Report } from "../diagnostics/diagnostic.ts";
import { pipelineStages } from "../diagnostics/pipeline.ts";
import type { Span } from "../../grammar/ast.ts";
import type { Computed, Env } from "./expressions.ts";
import type { Direction, Schedule } from "./schedule.ts";

type Laid = Pick<Schedule, "directions" | "lanes" | "directionOf" | "stage" | "holder">;

interface Written {
  readonly file: string;
  readonly rankSlot: number;
  readonly directions: readonly {
    readonly name: string;
    readonly stages: readonly Computed[];
    readonly span: Span;
  }[];
}

/** The stages, which are 0 up to the last and each held once, or undefined after an error in the report. */
export function layStages(written: Written, env: Env, ranks: number, report: Report): Laid | undefined {
  const directions: Direction[] = [];
  const directionOf: number[] = [];
  for (const [d, { name, stages }] of written.directions.entries()) {
    directions.push({ name, lane: directionOf.length, slots: stages.length, stages: ranks * stages.length });
    for (const _ of stages) directionOf.push(d);
  }
  const lanes = directionOf.length;
  const stage = new Int32Array(ranks * lanes);
  const holder = directions.map(({ stages }) => new Int32Array(stages).fill(-1));
  for (const [d, direction] of directions.entries()) {
    const source = written.directions[d];
    if (source === undefined) continue;
    const place: Place = { file: written.file, start: source.span.start, end: source.span.end };
    for (let rank = 0; rank < ranks; rank++) {
      env[written.rankSlot] = rank;
      for (const [v, value] of source.stages.entries()) {
        const s = value.run(env);
        const taken = holder[d]?.[s];
        if (taken === undefined || taken >= 0) {
          const wrong =
            taken === undefined
              ? `the stages of ${ranks} ranks are 0 to ${direction.stages - 1}`
              : `rank ${Math.floor(taken / lanes)} holds it too`;
          report.add(
            pipelineStages(
              place,
              `direction '${direction.name}' puts stage ${s} on rank ${rank}, and ${wrong}`,
            ),
          );
          return undefined;
        }
        const held = rank * lanes + direction.lane + v;
        stage[held] = s;
        holder[d]?.fill(held, s, s + 1);
      }
    }
  }
  return { directions, lanes, directionOf, stage, holder };
}
