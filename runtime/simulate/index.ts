/**
 * The PTX simulator: runs PTX text on the CPU, in Node and in browsers, and says what is wrong with it.
 *
 *     const module = loadModule(ptx);                        // throws a SimulateError for what it does not know
 *     const device = createDevice();
 *     const x = device.alloc(1024);
 *     device.write(x, data);
 *     const report = launch(module, "scale", { grid: [1, 1, 1], block: [256, 1, 1], args: [{ kind: "buffer", buffer: x }] });
 *     report.findings.map(renderFinding);
 *
 * It parses the text that a compiler emitted and has an instruction table of its own, so it checks the emitter too.
 */
export { loadModule, type Kernel, type Module } from "./compile/kernel.ts";
export { createDevice, createSystem, Device, type Buffer, type System } from "./device.ts";
export {
  explore,
  formatSchedule,
  parseSchedule,
  renderReproducer,
  type Exploration,
  type ExploreOptions,
  type Reproducer,
  type Trial,
} from "./explore.ts";
export {
  renderFinding,
  SimulateError,
  type Finding,
  type FindingCode,
  type Side,
  type SourceLine,
} from "./finding.ts";
export {
  launch,
  launchAll,
  type KernelArg,
  type KernelLaunch,
  type Launch,
  type SimulateOptions,
} from "./launch.ts";
export {
  decodeTensorMap,
  encodeTensorMap,
  tensorMapTypes,
  type TensorMap,
  type TensorMapType,
} from "./tensor-map.ts";
export { openSimulator, type SimulatorOptions } from "./plan-device.ts";
export type { Report, ReportCounts } from "./report.ts";
export type { Deviation } from "./machine/schedule.ts";
