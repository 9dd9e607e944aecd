/** A real browser, where this machine has one. */

import { existsSync } from "node:fs";
import puppeteer, { type Browser } from "puppeteer-core";

const PATHS = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/opt/google/chrome/chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** Where it lies; `undefined` if it is not in any usual place. */
export const BROWSER_PATH: string | undefined = PATHS.find((path) => existsSync(path));

/** A machine that does other things as well may take its time. */
export const PATIENCE_MS = 120_000;

/** Starts it, without a window. */
export function openBrowser(): Promise<Browser> {
  // Chromium refuses to be root in a sandbox of its own; it is shown our own page alone. Containers have
  // little shared memory.
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  return puppeteer.launch({ executablePath: BROWSER_PATH, args, timeout: PATIENCE_MS });
}
