/**
 * From Solidity to what a chain runs: standard JSON in, artifacts out. It is
 * synchronous and takes a second or two, so it belongs into tasks and tests. It
 * reads sources and writes nothing.
 */

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { InterfaceAbi } from "ethers";

/** Sources by the name under which they import each other: `StakeVault.sol`. */
export type Sources = Readonly<Record<string, string>>;

/** What TypeScript needs of a contract. */
export interface Artifact {
  readonly abi: readonly InterfaceAbi[number][];
  /** `0x…`, what deploys it. */
  readonly bytecode: string;
}

/** What coverage needs beyond that. */
export interface DetailedArtifact extends Artifact {
  /** `0x…`, what lies on the chain, with gaps where immutables go. */
  readonly deployedBytecode: string;
  /** Which piece of source each instruction comes from, as the compiler packs it. */
  readonly sourceMap: string;
  /** Bytes of the deployed code that hold immutables. */
  readonly immutables: readonly { readonly start: number; readonly length: number }[];
}

/** All that came out of one compilation. */
export interface Compilation {
  /** By name of the contract. */
  readonly artifacts: Readonly<Record<string, DetailedArtifact>>;
  /** The syntax tree of each source that was given, and its index in source maps. */
  readonly trees: Readonly<Record<string, { readonly index: number; readonly tree: unknown }>>;
}

/** How to compile. */
export interface CompileOptions {
  /** Off, every statement keeps instructions of its own, which coverage needs. Default: on. */
  readonly optimize?: boolean;
  /** Lets warnings about the given sources pass. Default: off, they are errors. */
  readonly lenient?: boolean;
}

/** The sources did not compile; the message is the compiler's. */
export class CompileError extends Error {
  /** Tells it from a bug. */
  override name = "CompileError";
}

/**
 * Every chain of the last two years runs it, and the libraries need it: transient storage came with it. The
 * compiler's own default is newer than some chains.
 */
const EVM_VERSION = "cancun";
/** Calls are more frequent than deployments, by far. */
const OPTIMIZER_RUNS = 1_000;

const SOURCE_FOLDER = new URL("./solidity/", import.meta.url);

/** Reads our contracts; with `adversaries`, those of the tests as well. */
export function readSources({ adversaries = false } = {}): Sources {
  const sources: Record<string, string> = {};
  for (const folder of adversaries ? ["", "adversaries/"] : [""]) {
    const from = new URL(folder, SOURCE_FOLDER);
    const names = [...Deno.readDirSync(from)].map(({ name }) => name).filter((name) => name.endsWith(".sol"));
    for (const name of names.sort()) sources[folder + name] = Deno.readTextFileSync(new URL(name, from));
  }
  return sources;
}

interface Found {
  readonly abi: Artifact["abi"];
  readonly evm: {
    readonly bytecode: { readonly object: string };
    readonly deployedBytecode: {
      readonly object: string;
      readonly sourceMap: string;
      readonly immutableReferences: Readonly<Record<string, DetailedArtifact["immutables"]>>;
    };
  };
}

interface Output {
  readonly errors?: readonly {
    readonly severity: string;
    readonly formattedMessage: string;
    readonly sourceLocation?: { readonly file: string };
  }[];
  readonly contracts?: Readonly<Record<string, Readonly<Record<string, Found>>>>;
  readonly sources?: Readonly<Record<string, { readonly id: number; readonly ast: unknown }>>;
}

/** The part of the compiler's package that is used. */
interface Compiler {
  compile(
    input: string,
    callbacks: { import(path: string): { contents: string } | { error: string } },
  ): string;
}

/**
 * @param sources what to compile; libraries that it imports are found among the installed packages.
 * @throws {CompileError} if the compiler finds an error, or warns of something in the sources.
 */
export function compile(
  sources: Sources,
  { optimize = true, lenient = false }: CompileOptions = {},
): Compilation {
  const require = createRequire(import.meta.url);
  const compiler = require("solc") as Compiler;
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(Object.entries(sources).map(([name, content]) => [name, { content }])),
    settings: {
      evmVersion: EVM_VERSION,
      optimizer: optimize ? { enabled: true, runs: OPTIMIZER_RUNS } : { enabled: false },
      // Nothing of the machine that compiled may end in the bytecode.
      metadata: { appendCBOR: false, bytecodeHash: "none" },
      outputSelection: {
        "*": {
          "": ["ast"],
          "*": [
            "abi",
            "evm.bytecode.object",
            "evm.deployedBytecode.object",
            "evm.deployedBytecode.sourceMap",
            "evm.deployedBytecode.immutableReferences",
          ],
        },
      },
    },
  };
  const library = (path: string) => {
    try {
      return { contents: Deno.readTextFileSync(fileURLToPath(import.meta.resolve(path))) };
    } catch (error) {
      return { error: `Cannot import ${path}: ${error instanceof Error ? error.message : error}` };
    }
  };
  const output = JSON.parse(compiler.compile(JSON.stringify(input), { import: library })) as Output;
  // What the compiler has against the libraries is theirs to mend.
  const complaints = (output.errors ?? []).filter(({ severity, sourceLocation }) =>
    severity === "error" || !lenient && sourceLocation !== undefined && sourceLocation.file in sources
  );
  if (complaints.length > 0) {
    throw new CompileError(complaints.map(({ formattedMessage }) => formattedMessage).join("\n"));
  }
  const artifacts: Record<string, DetailedArtifact> = {};
  for (const file of Object.keys(sources)) {
    for (const [name, { abi, evm }] of Object.entries(output.contracts?.[file] ?? {})) {
      artifacts[name] = {
        abi,
        bytecode: `0x${evm.bytecode.object}`,
        deployedBytecode: `0x${evm.deployedBytecode.object}`,
        sourceMap: evm.deployedBytecode.sourceMap,
        immutables: Object.values(evm.deployedBytecode.immutableReferences).flat(),
      };
    }
  }
  const trees = Object.fromEntries(
    Object.keys(sources).map((name) => {
      const { id, ast } = output.sources![name];
      return [name, { index: id, tree: ast }];
    }),
  );
  return { artifacts, trees };
}
