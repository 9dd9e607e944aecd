/**
 * Runs a program of ours in a process that can reach the network, its own data
 * folder and the code that it is made of, and nothing else: no other file, no
 * environment variable, no other program. It refuses a data folder from which
 * the box could rewrite its own code.
 *
 * What the box does not hold: native add-ons (ONNX Runtime, Dawn) run outside of
 * Deno's permissions, so only those of the pinned package can be loaded. And a
 * link that its owner put into the data folder is followed; it can make none.
 */

import { isAbsolute, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "./arguments.ts";

/** A program and what it may touch. */
export interface Box {
  /** The program: a file of this repository. */
  readonly program: URL;
  readonly args: readonly string[];
  /** Folder that it may read and write; it exists. */
  readonly dataDirectory: string;
  /** Further files that it may read; they exist. */
  readonly readable: readonly string[];
}

/** Folder of this repository, with no link on its way. */
export const REPOSITORY = Deno.realPathSync(fileURLToPath(new URL("../", import.meta.url)));

/** Folder inside the repository that holds data and no code. */
export const HOME_DIRECTORY = join(REPOSITORY, ".murmuration");

/** Packages whose native parts may be loaded, each with the folder that they lie in. */
const NATIVE_PACKAGES = [
  { name: "onnxruntime-node", folder: "bin" },
  { name: "webgpu", folder: "dist" },
] as const;

/** Rooms of this repository that threads are made of: a stage computes in one. */
const CODE_OF_THREADS = ["kernels", "run", "stages"];

/**
 * Size of each of the two halves of a heap in which objects are young, MB. Left to itself V8 doubles them whenever
 * enough objects have survived, up to 32, and hardly ever halves them: each thread's memory then rises by 48 MB in
 * steps, the later the fewer texts come, which looks like a leak, and buys nothing that a host's throughput shows.
 */
const YOUNG_HALF_MEGABYTES = 8;

/** What Deno needs to find its own cache, and the native parts to find a driver. The program can't read them. */
const ENVIRONMENT = [
  "HOME",
  "USERPROFILE",
  "LOCALAPPDATA",
  "SYSTEMROOT",
  "XDG_CACHE_HOME",
  "DENO_DIR",
  "NO_COLOR",
  "LD_LIBRARY_PATH",
  "XDG_RUNTIME_DIR",
  "XDG_CONFIG_HOME",
  "XDG_CONFIG_DIRS",
  "XDG_DATA_HOME",
  "XDG_DATA_DIRS",
  "VK_ICD_FILENAMES",
  "VK_DRIVER_FILES",
  "CUDA_VISIBLE_DEVICES",
];

/**
 * Command line of the boxed process, without the executable's own name.
 *
 * @throws {UsageError} if the data folder holds code of ours, a path is missing or has a comma in it.
 */
export async function boxArguments(box: Box): Promise<string[]> {
  const packages = join(REPOSITORY, "node_modules");
  const data = await realPath(box.dataDirectory);
  refuseCode(data);
  const native = NATIVE_PACKAGES.map(({ name, folder }) => realPath(join(packages, name, folder)));
  const readable = [
    await realPath(packages),
    // A thread's code is read when it starts, unlike that of the program itself.
    ...await Promise.all(CODE_OF_THREADS.map((room) => realPath(join(REPOSITORY, room)))),
    data,
    ...await Promise.all(box.readable.map(realPath)),
  ];
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--no-remote",
    "--cached-only",
    `--v8-flags=--max-semi-space-size=${YOUNG_HALF_MEGABYTES}`,
    `--config=${join(REPOSITORY, "deno.json")}`,
    "--allow-net",
    "--allow-sys=networkInterfaces",
    "--ignore-env",
    `--allow-read=${pathList(readable)}`,
    `--allow-write=${pathList([data])}`,
    `--allow-ffi=${pathList(await Promise.all(native))}`,
    fileURLToPath(box.program),
    ...box.args,
  ];
}

/**
 * Starts a boxed process. Its standard input is its leash (see `leash.ts`): it
 * ends when this process lets go of it, whatever became of this process.
 *
 * @param through a command that runs the command behind it, somewhere else: `nsenter --net=…`.
 * @throws {UsageError} as {@link boxArguments} does.
 */
export async function startInBox(
  box: Box,
  output: {
    readonly stdout: "inherit" | "piped";
    readonly stderr: "inherit" | "piped";
  },
  through: readonly string[] = [],
): Promise<Deno.ChildProcess> {
  const line = [...through, Deno.execPath(), ...await boxArguments(box)];
  return new Deno.Command(line[0]!, {
    args: line.slice(1),
    cwd: box.dataDirectory,
    clearEnv: true,
    env: Object.fromEntries(
      ENVIRONMENT.flatMap((name) => {
        const value = Deno.env.get(name);
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    stdin: "piped",
    ...output,
  }).spawn();
}

/** Whether `inner` is `outer` or lies in it. */
function liesIn(inner: string, outer: string): boolean {
  const way = relative(outer, inner);
  return way === "" ||
    (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

/**
 * Refuses a data folder from which a box could rewrite its own code.
 *
 * @param data absolute.
 * @throws {UsageError}
 */
export function refuseCode(data: string): void {
  const apart = !liesIn(data, REPOSITORY) && !liesIn(REPOSITORY, data);
  if (apart || liesIn(data, HOME_DIRECTORY)) return;
  throw new UsageError(
    `Cannot box a host in ${data}: its code lies in ${REPOSITORY}, and it must not write there; ` +
      `take a folder elsewhere, or one in ${HOME_DIRECTORY}`,
  );
}

/** Permissions are checked against the path behind links, so that is the one to grant. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`Cannot box a host: there is no ${path}`);
  }
}

/** Deno parts a list of paths at its commas, and knows no way to write a comma that is part of one. */
function pathList(paths: readonly string[]): string {
  const parted = paths.find((path) => path.includes(","));
  if (parted === undefined) return paths.join(",");
  throw new UsageError(`Cannot box a host: the path ${parted} has a comma in it, which would part it in two`);
}
