/** A simulation in the Trace Event Format of Chrome and Perfetto: a process a rank, a thread a stream. */
import { isCommunication } from "./pieces.ts";
import { actionAt, isJoined, kindAt, F } from "./schedule.ts";
import type { Simulation } from "./simulate.ts";

/** JSON text. Microseconds of the trace are the simulation's units of time. */
export function chromeTrace(simulation: Simulation): string {
  const { schedule: s, start, end } = simulation;
  const events: string[] = [];
  const add = (event: object): void => void events.push(JSON.stringify(event));
  for (let rank = 0; rank < s.ranks; rank++) {
    add({ name: "process_name", ph: "M", pid: rank, tid: 0, args: { name: `rank ${rank}` } });
    for (const [tid, name] of ["compute", "communication"].entries())
      add({ name: "thread_name", ph: "M", pid: rank, tid, args: { name } });
    const pieces = simulation.pieces(rank);
    for (const { name, layer, start: ts, end: to, entry } of pieces) {
      const tid = isCommunication(name) ? 1 : 0;
      add({
        name,
        cat: tid === 1 ? "communication" : "compute",
        ph: "X",
        ts,
        dur: to - ts,
        pid: rank,
        tid,
        args: { layer, ...actionAt(s, entry, rank) },
      });
    }
    for (const { start: ts, end: to, entry, to: receiver } of simulation.transfers(rank)) {
      const name = kindAt(s, entry) === F ? "send activation" : "send gradient";
      add({
        name,
        cat: "communication",
        ph: "X",
        ts,
        dur: to - ts,
        pid: rank,
        tid: 1,
        args: { receiver, ...actionAt(s, entry, rank) },
      });
    }
    if (pieces.length > 0) continue;
    for (let e = s.start[rank] ?? 0; e < (s.start[rank + 1] ?? 0); e++) {
      const [ts, dur] = [start[e] ?? 0, (end[e] ?? 0) - (start[e] ?? 0)];
      const first = actionAt(s, e, rank);
      if (!isJoined(s, e)) {
        add({
          name: `${first.kind}${first.micro}`,
          cat: first.kind,
          ph: "X",
          ts,
          dur,
          pid: rank,
          tid: 0,
          args: first,
        });
        continue;
      }
      const second = actionAt(s, ++e, rank);
      add({
        name: `${first.kind}${first.micro} & ${second.kind}${second.micro}`,
        cat: "overlap",
        ph: "X",
        ts,
        dur,
        pid: rank,
        tid: 0,
        args: { of: [first, second] },
      });
    }
  }
  return `{"displayTimeUnit":"ms","traceEvents":[\n${events.join(",\n")}\n]}\n`;
}
