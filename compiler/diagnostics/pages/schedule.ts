/** Pages about schedules that meet their kernels. */
import type { Page } from "../pages.ts";

export const schedulePages: Readonly<Record<string, Page>> = {
  WF4701: {
    title: "schedule does not fit",
    page: `A schedule is obeyed as it stands, or refused with the arithmetic that says why: registers, shared memory, threads, or a size that is no multiple of what an instruction takes. The help is the nearest schedule that fits:

    schedule linear on sm_90a { tile N 256, F 256 }     1 x 256 x 256 sums over 256 threads are 256 registers a thread

'weft build --schedules' prints the schedules that were chosen, to keep and edit.`,
  },
  WF4702: {
    title: "schedule for no kernel",
    page: `A schedule of a function holds for its kernels that have the sides which 'tile' names: the rows, the columns and the sum of a product, the rows and the reduced axes of another loop. Axes that are tiled together stand in a group, '(S H) 64'. A name behind the function's is a kernel's, which is named as the value that it computes: 'schedule attend.score on sm_90a { .. }'. Where no kernel is meant, nothing would obey it.

'weft build --schedules' prints the kernels with their schedules.`,
  },
  WF4703: {
    title: "two schedules",
    page: `A function, or a kernel of it, has one schedule for a target. A schedule of a kernel holds rather than its function's, and that rather than the module's; one for 'sm_90a' rather than one for 'ptx'.`,
  },
};
