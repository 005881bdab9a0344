/**
 * The inside of a chunk: a layer's attention, dispatch, MLP and combine, forward and backward, on two streams of one
 * rank, compute and communication. What the chunk's own order leaves open, the scheduler fills: for an overlapped pair
 * it tries every order of both streams and takes the one whose layers follow one another fastest.
 *
 * With the times of DualPipe's published trace that order is the paper's figure 4: attention forward, MLP backward,
 * MLP weights, MLP forward, attention backward, attention weights.
 */
export const pieceNames = [
  "attention(F)",
  "dispatch(F)",
  "mlp(F)",
  "combine(F)",
  "combine(B)",
  "mlp(B)",
  "dispatch(B)",
  "attention(B)",
  "mlp(W)",
  "attention(W)",
] as const;
export type PieceName = (typeof pieceNames)[number];

export interface Pieces {
  /** Layers of one stage. */
  readonly layers: number;
  /** Times of one layer, measured with `measured` of the SMs communicating. */
  readonly times: Readonly<Record<PieceName, number>>;
  /** Part of the SMs that communicate: what the times were measured with, and what to simulate. */
  readonly measured: number;
  readonly share: number;
}

/**
 * The trace of 4 layers on H800s: midpoints of the measured ranges, in ms; 20 of 132 SMs communicate.
 *
 * The trace runs MLP's weight gradients in two parts: 3.4 to 3.6 ms on the compute stream and 2.3 to 3.6 ms on a stream
 * beside it. Both need the SMs that compute, so the piece is their sum. That they take turns is what the trace's totals
 * say: 118.2 ms of the compute stream and 11.4 ms of the other are 129.6, and the whole trace is 129.0.
 */
export const publishedPieces: Pieces = {
  layers: 4,
  times: {
    "attention(F)": 4.355,
    "dispatch(F)": 6.8,
    "mlp(F)": 4.725,
    "combine(F)": 8.45,
    "combine(B)": 5.85,
    "mlp(B)": 5.2,
    "dispatch(B)": 7.6,
    "attention(B)": 9.25,
    "mlp(W)": 3.5 + 2.95,
    "attention(W)": 2.4,
  },
  measured: 20 / 132,
  share: 20 / 132,
};

/** The piece of the same layer that must end first. */
const after: Readonly<Record<PieceName, PieceName | undefined>> = {
  "attention(F)": undefined,
  "dispatch(F)": "attention(F)",
  "mlp(F)": "dispatch(F)",
  "combine(F)": "mlp(F)",
  "combine(B)": undefined,
  "mlp(B)": "combine(B)",
  "dispatch(B)": "mlp(B)",
  "attention(B)": "dispatch(B)",
  "mlp(W)": "mlp(B)",
  "attention(W)": "attention(B)",
};

export function isCommunication(name: PieceName): boolean {
  return name.startsWith("dispatch") || name.startsWith("combine");
}

/** A chunk's or a pair's pieces in the order of each stream, one layer. */
export interface PieceOrder {
  readonly compute: readonly PieceName[];
  readonly communication: readonly PieceName[];
}

const forward: readonly PieceName[] = ["attention(F)", "dispatch(F)", "mlp(F)", "combine(F)"];
const backward: readonly PieceName[] = ["combine(B)", "mlp(B)", "dispatch(B)", "attention(B)"];
const weights: readonly PieceName[] = ["mlp(W)", "attention(W)"];

/** `FB` is a pair whose backward is whole, `FI` one without weight gradients. */
export type Work = "F" | "B" | "I" | "W" | "FB" | "FI";

const piecesOf: Readonly<Record<Work, readonly PieceName[]>> = {
  F: forward,
  B: [...backward, ...weights],
  I: backward,
  W: weights,
  FB: [...forward, ...backward, ...weights],
  FI: [...forward, ...backward],
};

/** Time of a piece with the share of SMs that is to be simulated. */
export function pieceTime(pieces: Pieces, name: PieceName): number {
  const scale = isCommunication(name)
    ? pieces.measured / pieces.share
    : (1 - pieces.measured) / (1 - pieces.share);
  return pieces.times[name] * scale;
}

/** When the two streams of a rank are free. */
export interface Streams {
  compute: number;
  communication: number;
}

/** When the inputs of a unit of work are there: its forward's and its backward's. */
export interface Inputs {
  readonly forward: number;
  readonly backward: number;
}

/** When its results are: the forward's output, the backward's input gradient; and its first and last moment. */
export interface Outcome {
  readonly forward: number;
  readonly backward: number;
  readonly start: number;
  readonly end: number;
}

export interface PlacedPiece {
  readonly name: PieceName;
  readonly layer: number;
  readonly start: number;
  readonly end: number;
}

export interface Running {
  readonly pieces: Pieces;
  readonly order: PieceOrder;
  /** Multiplies every time: an uneven stage, jitter. */
  readonly scale: number;
  readonly layers: number;
}

/** Runs a unit's layers on the streams, which it moves on. Undefined where its two orders wait for one another. */
export function runPieces(
  running: Running,
  streams: Streams,
  inputs: Inputs,
  note?: (piece: PlacedPiece) => void,
): Outcome | undefined {
  const { pieces, order, scale, layers } = running;
  let [forwardReady, backwardReady] = [inputs.forward, inputs.backward];
  let [start, end] = [Infinity, 0];
  for (let layer = 0; layer < layers; layer++) {
    const ends = new Map<PieceName, number>();
    const next = { compute: 0, communication: 0 };
    const total = order.compute.length + order.communication.length;
    const tryNext = (stream: "compute" | "communication"): boolean => {
      const name = order[stream][next[stream]];
      if (name === undefined) return false;
      const first = after[name];
      const isPresent =
        first !== undefined && (order.compute.includes(first) || order.communication.includes(first));
      const ready = isPresent ? ends.get(first) : name.endsWith("(F)") ? forwardReady : backwardReady;
      if (ready === undefined) return false;
      const from = Math.max(streams[stream], ready);
      const to = from + pieceTime(pieces, name) * scale;
      streams[stream] = to;
      ends.set(name, to);
      next[stream] += 1;
      start = Math.min(start, from);
      end = Math.max(end, to);
      note?.({ name, layer, start: from, end: to });
      return true;
    };
    while (ends.size < total) {
      const moved = [tryNext("communication"), tryNext("compute")];
      if (!moved.includes(true)) return undefined;
    }
    forwardReady = ends.get("combine(F)") ?? forwardReady;
    backwardReady = ends.get("attention(B)") ?? backwardReady;
  }
  return { forward: forwardReady, backward: backwardReady, start, end };
}

/** Layers after which the time of one more no longer changes. */
const settled = 12;

/** The order of both streams in which layers of this work follow one another fastest; the first such, for one answer. */
export function bestOrder(pieces: Pieces, work: Work): PieceOrder {
  const names = piecesOf[work];
  const orders = (isWanted: (name: PieceName) => boolean): PieceName[][] =>
    arrangements(names.filter(isWanted)).filter((list) =>
      list.every((name, k) => !precedes(list.slice(k + 1), name)),
    );
  let best: { order: PieceOrder; period: number; latency: number } | undefined;
  for (const communication of orders(isCommunication))
    for (const compute of orders((name) => !isCommunication(name))) {
      const order = { compute, communication };
      const measured = measure(pieces, order);
      if (measured === undefined) continue;
      const { period, latency } = measured;
      const isBetter =
        best === undefined ||
        period < best.period - 1e-9 ||
        (period < best.period + 1e-9 && latency < best.latency - 1e-9);
      if (isBetter) best = { order, period, latency };
    }
  return best?.order ?? { compute: [], communication: [] };
}

/** Whether one of `later` has to end before `name`, over any number of pieces between. */
function precedes(later: readonly PieceName[], name: PieceName): boolean {
  for (let at = after[name]; at !== undefined; at = after[at]) if (later.includes(at)) return true;
  return false;
}

function measure(
  pieces: Pieces,
  order: PieceOrder,
): { readonly period: number; readonly latency: number } | undefined {
  const ends = [1, settled, settled + 1].map((layers) =>
    runPieces(
      { pieces, order, scale: 1, layers },
      { compute: 0, communication: 0 },
      { forward: 0, backward: 0 },
    ),
  );
  const [once, some, more] = ends;
  if (once === undefined || some === undefined || more === undefined) return undefined;
  return { period: more.end - some.end, latency: once.end };
}

function arrangements<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((each, k) =>
    arrangements([...list.slice(0, k), ...list.slice(k + 1)]).map((rest) => [each, ...rest]),
  );
}
