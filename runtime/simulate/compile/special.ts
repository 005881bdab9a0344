/** Special registers (PTX ISA 10) as JavaScript over the warp `w` and the lane `l`. */

export interface SpecialRead {
  readonly text: string;
}

const axes = { x: 0, y: 1, z: 2 } as const;

const scalars: Readonly<Record<string, string>> = {
  "%laneid": "l",
  "%warpid": "w.index",
  "%nwarpid": "w.block.warps.length",
  "%smid": "w.block.processor",
  "%nsmid": "w.machine.processors",
  "%gridid": "w.block.grid.number",
  "%lanemask_eq": "(1 << l) >>> 0",
  "%lanemask_le": "(2 << l) - 1 >>> 0",
  "%lanemask_lt": "(1 << l) - 1 >>> 0",
  "%lanemask_ge": "-1 << l >>> 0",
  "%lanemask_gt": "(l === 31 ? 0 : -2 << l) >>> 0",
  "%clock": "w.machine.steps >>> 0",
  "%clock_hi": "Math.floor(w.machine.steps / 4294967296)",
  "%clock64": "w.machine.steps",
  // One step of a warp counts as a nanosecond, so that time at least moves on.
  "%globaltimer": "w.machine.steps",
  "%globaltimer_lo": "w.machine.steps >>> 0",
  "%globaltimer_hi": "Math.floor(w.machine.steps / 4294967296)",
  "%dynamic_smem_size": "w.block.grid.dynamicShared",
  "%total_smem_size": "w.block.shared.size - w.block.shared.low",
  "%cluster_ctarank": "w.rank",
  "%cluster_nctarank": "w.block.cluster.blocks.length",
  "%is_explicit_cluster": "(w.block.grid.explicitCluster ? 1 : 0)",
  WARP_SZ: "32",
};

const vectors: Readonly<Record<string, (axis: 0 | 1 | 2) => string>> = {
  "%tid": (axis) => `w.tid${"XYZ"[axis]!}[l]`,
  "%ntid": (axis) => `w.block.grid.block[${axis}]`,
  "%ctaid": (axis) => `w.block.index[${axis}]`,
  "%nctaid": (axis) => `w.block.grid.grid[${axis}]`,
  "%clusterid": (axis) => `w.block.cluster.index[${axis}]`,
  "%nclusterid": (axis) => `(w.block.grid.grid[${axis}] / w.block.grid.cluster[${axis}])`,
  "%cluster_ctaid": (axis) => `(w.block.index[${axis}] % w.block.grid.cluster[${axis}])`,
  "%cluster_nctaid": (axis) => `w.block.grid.cluster[${axis}]`,
};

export function isSpecial(name: string): boolean {
  return readSpecial(name) !== undefined;
}

export function readSpecial(name: string): SpecialRead | undefined {
  const text = scalars[name];
  if (text !== undefined) return { text };
  const [register, axis] = name.split(".") as [string, string?];
  const vector = vectors[register];
  if (vector === undefined || axis === undefined || !(axis in axes)) return undefined;
  return { text: vector(axes[axis as keyof typeof axes]) };
}
