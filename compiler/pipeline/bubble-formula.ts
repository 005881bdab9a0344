/** The formula that holds where the papers' do, and the one at hand elsewhere. */
import { bubbleOf, type Formula, timeOf } from "./bubble.ts";
import type { Channels } from "./channels.ts";
import type { Costs } from "./costs.ts";
import { simulate, type Simulation } from "./simulate.ts";

/** No two sums of few of these are equal but those that are for all costs with B = F + W. */
const generic: Costs = { F: 1_009, B: 1_009 + 706, W: 706, FB: 2_600 };

export interface Bubble {
  readonly formula: Formula;
  /** The formula's time, for the costs at hand. */
  readonly time: number;
  /** Whether the simulated longest idle is that time. */
  readonly isExact: boolean;
  /** The formula for I = F and W < F, the published one of a published schedule, and its time for the costs at hand. */
  readonly usual: Formula;
  readonly usualTime: number;
}

/**
 * The bubble of a schedule that is proved. The formula for I = F and W < F is kept where it gives the simulated time;
 * with other costs another chain of actions may be the longest, and its formula is given.
 */
export function bubbleFormula(simulated: Simulation, channels: Channels): Bubble {
  const usual = bubbleOf(simulate(simulated.schedule, { costs: generic }, channels), channels);
  const isClose = (formula: Formula): boolean =>
    Math.abs(timeOf(formula, simulated.costs) - simulated.longestIdle) <=
    1e-9 * Math.max(1, simulated.makespan);
  const formula = isClose(usual) ? usual : bubbleOf(simulated, channels);
  return {
    formula,
    time: timeOf(formula, simulated.costs),
    isExact: isClose(formula),
    usual,
    usualTime: timeOf(usual, simulated.costs),
  };
}
