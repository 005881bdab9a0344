/** Pages about pipeline schedules that are wrong for given numbers of ranks and micro-batches. */
import type { Page } from "../pages.ts";

export const pipelinePages: Readonly<Record<string, Page>> = {
  WF5003: {
    title: "pipeline value",
    page: `A pipeline computes with whole numbers, conditions and directions. Counts of phases are 0 or more, '/' and '%'
divide by what is not 0, 'if' takes a condition, and both its branches are of one kind.`,
  },
  WF5004: {
    title: "stages of a direction",
    page: `The stages that the ranks hold of one direction are 0, 1, .. up to the last, each held by one rank. An action
names which of its rank's stages it is for where there are several: 'F(down, 1)' is for the second.`,
  },
  WF5005: {
    title: "sizes that a pipeline does not allow",
    page: `The 'where' of a pipeline says for which numbers of ranks and micro-batches it is a schedule. Give such numbers.
A schedule may have 2^27 actions.`,
  },
  WF5006: {
    title: "micro-batch that does not pass a stage",
    page: `Each micro-batch of a direction passes each stage of it forward once and backward once, and the directions'
micro-batches add up to M. A rank's k-th 'F(d)' is the k-th micro-batch of d, so a rank that has fewer of them than another
leaves micro-batches out.`,
  },
  WF5007: {
    title: "weight gradient out of place",
    page: `'I' computes the gradient of a chunk's input and leaves that of its weights owed; 'W' computes the oldest one that
its rank still owes, 'W(d)' the oldest of direction d. A 'W' with nothing owed has nothing to do, and a gradient owed at the
end would be missing from the step. 'B' computes both at once and owes nothing.`,
  },
  WF5008: {
    title: "pipeline that deadlocks",
    page: `A rank performs its actions in order. A forward waits for the stage before it, a backward for its own forward and
the stage after it, and a send for room in its queue, where '--buffers' bounds it. Here ranks wait for one another in a
cycle, or for something that is never sent. The message follows the cycle; 'weft pipeline' draws the schedule up to there.`,
  },
  WF5009: {
    title: "chunks received in another order than sent",
    page: `Between two ranks there is one queue for each direction and for forward and backward each. What comes out first is
what went in first, so both ranks list their chunks in one order.`,
  },
  WF5010: {
    title: "overlap of what cannot overlap",
    page: `'overlap' takes two actions, one F and one B or I: one's communication runs under the other's compute.`,
  },
  WF5011: {
    title: "no such pipeline",
    page: `A schedule is named as 'FILE.dsl:Name'; without a name, the file's last pipeline is meant.`,
  },
};
