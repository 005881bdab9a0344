/** docs/pipelines.md and its pictures: texts and tables from the library's schedules, all drawn by the compiler. */

const ranks = 8;
const micro = 24;
const costs = { F: 1, B: 2, W: 1, FB: 2.6 };
const about = {
  gpipe:
    "The simplest: everything forward, then everything backward. The bubble is what fills and empties the pipeline, and all micro-batches' activations live at the turn.",
  "1f1b":
    "The same bubble, and far less memory: once the pipeline is full, each rank alternates one forward with one backward, so rank r never holds more than P - r activations.",
  interleaved:
    "Each rank holds two shorter stages, so that filling and emptying take half the time. The price is twice the messages, and activations of more chunks.",
  zb1p: "The backward is cut in two: the input gradient goes at once, since the rank before waits for it; weight gradients wait for nobody and fill what would be bubble.",
  dualpipe:
    "Micro-batches enter at both ends. A forward of one direction and a backward of the other run together, one's communication under the other's compute. Each rank holds two stages.",
  dualpipev:
    "DualPipe cut in half: the pipeline goes down the ranks and comes back up, so both stages of a rank are of one direction and the parameters are held once.",
};

/**
 * The files by path under docs. `compiler` is the compiler's interface, `library` gives the text of a schedule of the
 * library by its name.
 */
export function pipelineFiles(compiler, library) {
  const {
    bubbleFormula,
    compilePipeline,
    ganttSvg,
    generalize,
    printFormula,
    prove,
    publishedPieces,
    simulate,
  } = compiler;
  const files = new Map();
  const page = [
    "# Pipeline schedules",
    "",
    "<!-- Written by docs/pipelines.mjs. -->",
    "",
    "A `pipeline` block says what each rank does, in order: `F` forward, `B` whole backward, `I` input gradient, `W` the oldest weight",
    "gradient still owed, `overlap(F(a), B(b))` two at once. `weft pipeline FILE.dsl:Name --ranks 8 --micro 24` proves that every",
    "micro-batch passes each stage once each way and that no rank waits for ever, simulates it, and with `--svg FILE` draws it.",
    "",
    `The pictures are of ${ranks} ranks and ${micro} micro-batches, a forward taking ${costs.F}, a backward ${costs.B}, of which weights ${costs.W}, and an overlapped`,
    `pair ${costs.FB}. A schedule with twice as many stages cuts the same model into chunks of half the cost. Numbers are micro-batches; the`,
    "darker tone is the second direction, or the rank's second stage. The last column says which numbers of micro-batches the proof",
    "for 8 ranks holds for: dots where it is by induction on the steady phase, and otherwise those that were proved one by one.",
    "",
  ];
  const rows = [];
  for (const [name, text] of Object.entries(about)) {
    const source = { file: `${name}.dsl`, text: library(name) };
    const { pipeline } = compilePipeline({
      source,
      host: { read: () => undefined },
      name: undefined,
      ranks,
      micro,
    });
    const proof = prove(pipeline.schedule);
    if (proof.verdict !== "proved") throw new Error(proof.diagnostic.message);
    const part = ranks / proof.memory.stages;
    const scaled = Object.fromEntries(Object.entries(costs).map(([key, cost]) => [key, cost * part]));
    const simulation = simulate(pipeline.schedule, { costs: scaled }, proof.channels);
    const formula = printFormula(bubbleFormula(simulation, proof.channels).formula);
    const title = `${pipeline.name}: ${ranks} ranks, ${micro} micro-batches`;
    files.set(`pipelines/${name}.svg`, ganttSvg([{ simulation, options: { title } }]));
    const proved = generalize(pipeline);
    rows.push(
      `| [${pipeline.name}](#${pipeline.name.toLowerCase()}) | ${formula}${part === 1 ? "" : ", of chunks"} | ${round(simulation.longestIdle)} of ${round(simulation.makespan)} | ${Math.max(...proof.memory.activations)} of 1/${proof.memory.stages} | ${proof.memory.stagesHeld} of ${proof.memory.stages} stages | ${proved.kind === "induction" ? `${[0, 1, 2].map((k) => proved.from + k * proved.step).join(", ")}, ..` : `${proved.from} to ${proved.micro}`} |`,
    );
    const [first, ...rest] = source.text.trimEnd().split("\n");
    page.push(
      `## ${pipeline.name}`,
      "",
      text,
      "",
      `![${title}](pipelines/${name}.svg)`,
      "",
      "```",
      first,
      ...rest,
      "```",
      "",
    );
  }
  const table = [
    "| schedule | bubble | longest idle | peak activations | parameters held | proved for micro-batches |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ];
  page.splice(page.indexOf("## GPipe"), 0, ...table);

  const dualpipe = (ranks, micro) =>
    compilePipeline({
      source: { file: "dualpipe.dsl", text: library("dualpipe") },
      host: { read: () => undefined },
      name: undefined,
      ranks,
      micro,
    }).pipeline.schedule;
  const pieces = { ...publishedPieces, layers: 1 };
  const inside = simulate(dualpipe(4, 8), { pieces });
  files.set(
    "pipelines/communication.svg",
    ganttSvg([
      {
        simulation: inside,
        options: {
          title: "DualPipe, one layer a stage, published times in ms: dispatch and combine under each rank",
        },
      },
    ]),
  );
  page.push(
    "## Communication",
    "",
    "With `--pieces published` a layer is its attention, dispatch, MLP and combine, forward and backward, with the times of DualPipe's",
    "published trace; compute and communication are two streams of one rank. The order of a pair's pieces is not written down: all",
    "orders are tried, and the one is taken in which layers follow one another fastest. The thin row under a rank is its communication.",
    `One layer's forward and backward take ${round(pairTime(simulate(dualpipe(4, 40), { pieces: publishedPieces })) / publishedPieces.layers)} ms in the steady phase; the trace has 32.25.`,
    "",
    `![${"DualPipe with communication"}](pipelines/communication.svg)`,
    "",
  );
  files.set("pipelines.md", page.join("\n"));
  return files;
}

/** Of an overlapped pair in the middle of rank 0's work: from one pair's start to the start of the tenth after it. */
function pairTime({ schedule, start }) {
  const pairs = [];
  for (let e = schedule.start[0]; e < schedule.start[1]; e++)
    if ((schedule.kind[e] & 4) !== 0) pairs.push(start[e]);
  return (pairs[20] - pairs[10]) / 10;
}

function round(n) {
  return Math.round(n * 1000) / 1000;
}
