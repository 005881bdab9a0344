/**
 * Compute pipelines by kernel text. Dawn crashes natively somewhere beyond a thousand shader modules in one
 * process, whether they are still used or not, so a text is compiled once a device.
 */
import type { PlanKernel } from "../../compiler/plan/plan.ts";
import { DeviceError } from "../device.ts";
import { kernelMessage } from "../plan/blame.ts";

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Promise<Pipeline>>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Throws `DeviceError` with the device's messages, each with the source line that its place comes from. */
  async pipelineOf(kernel: PlanKernel, text: string): Promise<Pipeline> {
    for (const feature of kernel.features) {
      if (!this.#device.features.has(feature)) {
        throw new DeviceError(
          `kernel ${kernel.name} needs the WebGPU feature ${feature}, which this adapter lacks`,
        );
      }
    }
    const key = `${kernel.entry}\n${kernel.buffers.map((buffer) => buffer.access).join()}\n${kernel.sizes.length}\n${text}`;
    const known = this.#pipelines.get(key);
    if (known !== undefined) return known;
    const made = this.#compile(kernel, text);
    this.#pipelines.set(key, made);
    return made;
  }

  async #compile(kernel: PlanKernel, text: string): Promise<Pipeline> {
    const device = this.#device;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: kernel.name, code: text });
    const layout = device.createBindGroupLayout({ label: kernel.name, entries: layoutEntries(kernel) });
    // Popped before the first wait: scopes are a stack, and another load may push its own meanwhile.
    const scope = device.popErrorScope();
    const { messages } = await module.getCompilationInfo();
    const error = await scope;
    const errors = messages.filter((message) => message.type === "error");
    if (errors.length > 0) {
      throw new DeviceError(
        errors.map(({ lineNum, message }) => kernelMessage(kernel, message, lineNum)).join("\n"),
      );
    }
    if (error !== null) throw new DeviceError(kernelMessage(kernel, error.message, undefined));
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: kernel.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: kernel.entry },
      });
      return { pipeline, layout };
    } catch (failure) {
      throw new DeviceError(
        kernelMessage(kernel, failure instanceof Error ? failure.message : String(failure), undefined),
      );
    }
  }
}

function layoutEntries(kernel: PlanKernel): GPUBindGroupLayoutEntry[] {
  // GPUShaderStage.COMPUTE, by value: the name is a global that not every host has.
  const visibility = 4;
  const entries = kernel.buffers.map((buffer, binding): GPUBindGroupLayoutEntry => ({
    binding,
    visibility,
    buffer: { type: buffer.access === "read" ? "read-only-storage" : "storage" },
  }));
  if (kernel.sizes.length > 0)
    entries.push({ binding: entries.length, visibility, buffer: { type: "uniform" } });
  return entries;
}
