/**
 * Who knows of whom: vector clocks, by which an access is ordered before another or races with it.
 *
 * An *agent* is a warp, or something that works beside it: its wgmma queue, its bulk copies, the copies that land
 * on one mbarrier. Agents of one cluster share a *realm* and see each other's time in a dense vector; another
 * cluster's vector is kept whole in `foreign`, since most kernels never synchronise between clusters.
 *
 * A vector holds two times for each agent: `known`, up to which its accesses are ordered before ours, and
 * `proxied`, up to which its generic writes are also visible to the async proxy, because a `fence.proxy.async`
 * lay on the way (PTX ISA 8.6, 9.7.13.6). An access at time t is ordered when `known` is at least t.
 */

export interface Realm {
  readonly id: number;
  /** Agents so far. */
  size: number;
  /** By agent, the latest releases of warps of which only some lanes took part. */
  readonly releases: Map<number, Releases>;
}

/**
 * A release by some lanes of a warp covers what they did, and what others did until the lanes last met; the time in
 * a vector stands for the warp as a whole, so the rest is kept here.
 */
export interface Release {
  readonly time: number;
  readonly mask: number;
  /** Up to here the lanes had met by a barrier; and up to here, for reads, by any `.sync` instruction. */
  readonly met: number;
  readonly metReads: number;
}

export interface Releases {
  readonly list: Release[];
  /** Releases up to this time were dropped from the list. */
  dropped: number;
}

/** Later than any access: what has ended altogether. */
export const endOfTime: number = 2 ** 31 - 1;

export function makeRealm(id: number): Realm {
  return { id, size: 0, releases: new Map() };
}

const mostReleases = 128;

/** `whole` is the time of the warp's latest release by all its lanes before there was a list. */
export function noteRelease(realm: Realm, agent: number, release: Release, whole: number): void {
  let releases = realm.releases.get(agent);
  if (releases === undefined) {
    releases = { list: [], dropped: whole };
    realm.releases.set(agent, releases);
  }
  releases.list.push(release);
  if (releases.list.length > mostReleases)
    releases.dropped = releases.list.splice(0, mostReleases / 2).at(-1)!.time;
}

/** Is what a lane of the agent did at `time` part of a release that a vector with `known` may have seen? */
export function isReleased(
  realm: Realm,
  agent: number,
  lane: number,
  time: number,
  known: number,
  read: boolean,
): boolean {
  const releases = realm.releases.get(agent);
  if (releases === undefined || time <= releases.dropped || known === endOfTime) return true;
  const { list } = releases;
  for (let i = list.length - 1; i >= 0; i--) {
    const release = list[i]!;
    if (release.time < time) return false;
    if (
      release.time <= known &&
      ((release.mask >>> lane) & 1 || time <= (read ? release.metReads : release.met))
    )
      return true;
  }
  return false;
}

export interface Vector {
  readonly realm: Realm;
  known: Int32Array;
  proxied: Int32Array;
  /** By realm; the arrays are never written to once they are here. */
  foreign: ReadonlyMap<number, Foreign> | undefined;
}

interface Foreign {
  readonly known: Int32Array;
  readonly proxied: Int32Array;
}

export function makeVector(realm: Realm): Vector {
  const room = realm.size + 16;
  return { realm, known: new Int32Array(room), proxied: new Int32Array(room), foreign: undefined };
}

export function copyVector(vector: Vector): Vector {
  return { ...vector, known: vector.known.slice(), proxied: vector.proxied.slice() };
}

/** The room depends on the size alone: two vectors that are joined in turn would else outgrow each other for ever. */
function grown(values: Int32Array, size: number): Int32Array {
  const next = new Int32Array(2 ** Math.ceil(Math.log2(size)));
  next.set(values);
  return next;
}

/** Makes room for the agents that the realm has gained. */
export function reserve(vector: Vector, size: number): void {
  if (vector.known.length >= size) return;
  vector.known = grown(vector.known, size);
  vector.proxied = grown(vector.proxied, size);
}

function raise(into: Int32Array, from: Int32Array): void {
  const n = from.length;
  for (let i = 0; i < n; i++) if (from[i]! > into[i]!) into[i] = from[i]!;
}

function highest(a: Int32Array | undefined, b: Int32Array): Int32Array {
  if (a === undefined) return b.slice();
  const result = a.length >= b.length ? a.slice() : grown(a, b.length);
  raise(result, b);
  return result;
}

/** Whatever `from` knows, `into` now knows: the acquire of a release. */
export function join(into: Vector, from: Vector): void {
  if (into.realm === from.realm) {
    reserve(into, from.known.length);
    raise(into.known, from.known);
    raise(into.proxied, from.proxied);
    if (from.foreign === undefined || from.foreign === into.foreign) return;
    if (into.foreign === undefined) {
      into.foreign = from.foreign;
      return;
    }
  }
  const foreign = new Map(into.foreign);
  if (into.realm !== from.realm) mergeForeign(foreign, from.realm.id, from);
  for (const [id, other] of from.foreign ?? []) {
    if (id === into.realm.id) {
      reserve(into, other.known.length);
      raise(into.known, other.known);
      raise(into.proxied, other.proxied);
    } else mergeForeign(foreign, id, other);
  }
  into.foreign = foreign;
}

function mergeForeign(into: Map<number, Foreign>, id: number, from: Foreign): void {
  const old = into.get(id);
  into.set(id, { known: highest(old?.known, from.known), proxied: highest(old?.proxied, from.proxied) });
}

/** Is what the agent did at `time` ordered before what the owner of the vector does now? */
export function knows(vector: Vector, realm: number, agent: number, time: number): boolean {
  const known = realm === vector.realm.id ? vector.known : vector.foreign?.get(realm)?.known;
  return known !== undefined && agent < known.length && known[agent]! >= time;
}

/** And is it, if it was a generic write, visible to the async proxy? */
export function knowsProxied(vector: Vector, realm: number, agent: number, time: number): boolean {
  const known = realm === vector.realm.id ? vector.proxied : vector.foreign?.get(realm)?.proxied;
  return known !== undefined && agent < known.length && known[agent]! >= time;
}

/** `fence.proxy.async`: all that the vector knows of becomes visible to the async proxy too. */
export function fenceProxy(vector: Vector): void {
  vector.proxied.set(vector.known);
  if (vector.foreign === undefined) return;
  vector.foreign = new Map(
    [...vector.foreign].map(([id, other]) => [id, { known: other.known, proxied: other.known }]),
  );
}
