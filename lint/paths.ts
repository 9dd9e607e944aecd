/** Where a file lies in the house. Knows no rule. */

import { fileURLToPath } from "node:url";
import { dirname, join, relative } from "node:path";

const ROOT = join(import.meta.dirname!, "..");

/** Path of a linted file from the house's root, with `/`; `../…` if it lies outside. */
export function pathInHouse(filename: string): string {
  const path = filename.startsWith("file:") ? fileURLToPath(filename) : filename;
  return relative(ROOT, path).replaceAll("\\", "/");
}

/** Path from the root of what a relative specifier in `importer` names; `undefined` for packages. */
export function importedPath(importer: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return join(dirname(importer), specifier).replaceAll("\\", "/");
}

/** Tests, and what only tests use. */
export function isTest(path: string): boolean {
  return path.startsWith("tests/") || path.endsWith("_test.ts");
}
