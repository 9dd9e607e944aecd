/**
 * Which Vulkan driver a native library is to be shown, so that it can be tested
 * where there is no GPU: the machine's own where that works, else SwiftShader,
 * which comes with Chromium and computes on the CPU. What works is tried out in
 * a process of its own, since a driver that crashes takes its process along.
 */

import { existsSync } from "node:fs";

/** Where distributions put the file that names SwiftShader to Vulkan's loader. */
const SWIFT_SHADER_FILES = [
  "/usr/lib/chromium/vk_swiftshader_icd.json",
  "/usr/lib/chromium-browser/vk_swiftshader_icd.json",
  "/usr/lib64/chromium-browser/vk_swiftshader_icd.json",
  "/opt/google/chrome/vk_swiftshader_icd.json",
];

/** Both names of the variable that Vulkan's loader reads; old loaders know the first one only. */
const VARIABLES = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"];

/** A driver: the machine's own choice, or the one that a file names. */
export type Driver = "own" | { readonly file: string };

/**
 * The first driver under which a program of ours ends well.
 *
 * @param program opens what is to be tested, and closes it.
 * @returns `undefined` if it does under none.
 */
export async function driverFor(program: URL, ...args: readonly string[]): Promise<Driver | undefined> {
  const file = SWIFT_SHADER_FILES.find((path) => existsSync(path));
  for (const driver of ["own", ...file === undefined ? [] : [{ file }]] as const) {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", program.href, ...args],
      env: variablesOf(driver),
      stdout: "null",
      stderr: "null",
    });
    if ((await child.output()).success) return driver;
  }
  return undefined;
}

/**
 * Does something while the loader is shown a driver. A native library asks once,
 * when it is used first, and keeps to what it found.
 */
export async function underDriver<Result>(driver: Driver, work: () => Promise<Result>): Promise<Result> {
  const before = VARIABLES.map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variablesOf(driver))) Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

function variablesOf(driver: Driver): Record<string, string> {
  return driver === "own" ? {} : Object.fromEntries(VARIABLES.map((name) => [name, driver.file]));
}
