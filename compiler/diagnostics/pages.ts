/**
 * What `weft explain` says about each code from WF2 on: a title and a page. The pages of WF1 stand in the grammar,
 * beside the mistakes they are about. A number that is retired is not used again.
 */
import { axisPages } from "./pages/axes.ts";
import { laterPages } from "./pages/later.ts";
import { lowerPages } from "./pages/lower.ts";
import { namePages } from "./pages/names.ts";
import { pipelinePages } from "./pages/pipeline.ts";
import { schedulePages } from "./pages/schedule.ts";
import { valuePages } from "./pages/values.ts";

export interface Page {
  readonly title: string;
  readonly page: string;
}

export const pages: Readonly<Record<string, Page>> = {
  ...namePages,
  ...axisPages,
  ...valuePages,
  ...laterPages,
  ...schedulePages,
  ...lowerPages,
  ...pipelinePages,
};
