/**
 * What the kernel says of a process: its memory, its open files, its children.
 * Linux only: it is read from /proc. It starts and ends nothing.
 */

/** Whether these facts can be had here. */
export const HAS_PROCESS_FACTS = Deno.build.os === "linux";

/** Resident memory in MB; `undefined` if the process is gone. */
export async function residentMegabytes(pid: number): Promise<number | undefined> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(unlessGone);
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status ?? "")?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024 / 1e6;
}

/** How many files, sockets and pipes it has open; `undefined` if the process is gone. */
export async function openFiles(pid: number): Promise<number | undefined> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`)).catch(unlessGone))?.length;
}

/** A process, told from a later one with the same number. */
export interface ProcessName {
  readonly pid: number;
  /** When it started, in the kernel's ticks since the machine did. */
  readonly startedTicks: number;
}

/** The process that has this number now; `undefined` if none has. */
export async function processNamed(pid: number): Promise<ProcessName | undefined> {
  const fields = await statFields(pid);
  return fields === undefined ? undefined : { pid, startedTicks: Number(fields[STARTED]) };
}

/** Whether it is still there, be it as a zombie that nobody has waited for. */
export async function isThere({ pid, startedTicks }: ProcessName): Promise<boolean> {
  return (await processNamed(pid))?.startedTicks === startedTicks;
}

/** Processes that this one has started and that are still there. */
export async function childrenOf(parent: number): Promise<number[]> {
  const children: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const fields = await statFields(Number(name));
    if (fields !== undefined && Number(fields[PARENT]) === parent) children.push(Number(name));
  }
  return children;
}

/** Places in what {@link statFields} returns: those of proc_pid_stat(5), less three. */
const PARENT = 1;
const STARTED = 19;

/** The fields behind the name, which may hold blanks and brackets of its own. */
async function statFields(pid: number): Promise<string[] | undefined> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(unlessGone);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** A process may end between being listed and being read. */
function unlessGone(error: unknown): undefined {
  const gone = error instanceof Deno.errors.NotFound ||
    // ESRCH, which Deno has no class for.
    (error instanceof Error && "code" in error && error.code === "ESRCH");
  if (!gone) throw error;
}
