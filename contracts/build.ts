/**
 * `deno task contracts`: compiles the contracts and writes their artifacts, and
 * those of the tests' adversaries.
 *
 * The artifacts are checked in, so that a peer needs no compiler of 9 MB to talk
 * to a chain, and a change of what the chain sees shows in review. A test
 * compiles anew and compares.
 */

import { Interface } from "ethers";
import { compile, type CompileOptions, readSources, type Sources } from "./compile.ts";

const OURS = "./artifacts.json";
const ADVERSARIES = "./testing/adversaries.json";

/** What lies in a file of artifacts: of each contract that can be deployed its ABI, to be read, and its code. */
export type ArtifactFile = Readonly<
  Record<string, { readonly abi: readonly string[]; readonly bytecode: string }>
>;

/** The files of artifacts, by path from this folder. */
export function artifactTexts(
  sources: Sources = readSources({ adversaries: true }),
  options?: CompileOptions,
): Readonly<Record<string, string>> {
  const files: Record<string, Record<string, ArtifactFile[string]>> = { [OURS]: {}, [ADVERSARIES]: {} };
  const built = Object.entries(compile(sources, options).artifacts);
  for (const [name, { abi, bytecode }] of built.sort(([left], [right]) => left < right ? -1 : 1)) {
    if (bytecode === "0x") continue;
    const file = files[`${name}.sol` in sources ? OURS : ADVERSARIES];
    file[name] = { abi: new Interface(abi).format(), bytecode };
  }
  return Object.fromEntries(
    Object.entries(files).map(([path, contracts]) => [path, `${JSON.stringify(contracts, null, 2)}\n`]),
  );
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(artifactTexts())) {
    Deno.writeTextFileSync(new URL(path, import.meta.url), text);
  }
}
