/** WebGPU's bit flags by value (WebGPU, 5.1 and 5.3): their names are globals that not every host has. */
export const usage = {
  mapRead: 1,
  copySource: 4,
  copyTarget: 8,
  uniform: 64,
  storage: 128,
  queryResolve: 512,
} as const;
export const mapRead = 1;
