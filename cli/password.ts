/**
 * Passwords: typed by a person without being shown, or read from a file for a
 * program's sake. They are never taken from the command line, where all processes
 * of a machine can read them, and never written anywhere.
 */

import { Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";

/** Where a person types. */
export interface Terminal {
  isTerminal(): boolean;
  setRaw(raw: boolean): void;
  readSync(into: Uint8Array): number | null;
}

const PASSWORD_BYTES_MAX = 1024;
const ENTER = [10, 13];
const ERASE = [8, 127];
const CONTROL_C = 3;
const CONTROL_D = 4;

/**
 * A password.
 *
 * @param file that it is the first line of; without it a person is asked.
 * @throws {UsageError} if the file can't be read, or nobody is there to be asked.
 */
export async function readPassword(
  question: string,
  file: string | undefined,
  terminal: Terminal = Deno.stdin,
): Promise<string> {
  if (file !== undefined) return await passwordOf(file);
  if (!terminal.isTerminal()) {
    throw new UsageError(`Cannot ask for a password: nobody types here; name its file with --password-file`);
  }
  return typed(question, terminal);
}

/** A password that is to be kept in mind: it is asked for twice. */
export async function newPassword(
  file: string | undefined,
  terminal: Terminal = Deno.stdin,
): Promise<string> {
  const password = await readPassword("New password: ", file, terminal);
  if (password === "") throw new UsageError("Cannot take an empty password");
  if (file === undefined && typed("Once more: ", terminal) !== password) {
    throw new Failure("The two passwords differ; nothing was written");
  }
  return password;
}

async function passwordOf(file: string): Promise<string> {
  try {
    const text = await Deno.readTextFile(file);
    if (text.length > PASSWORD_BYTES_MAX) {
      throw new UsageError(`Cannot read a password from ${file}: it holds ${text.length} characters`);
    }
    return text.split(/\r?\n/)[0]!;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied)) {
      throw error;
    }
    throw new UsageError(`Cannot read a password from ${file}: ${error.message}`);
  }
}

function typed(question: string, terminal: Terminal): string {
  PROCESS_OUTPUT.err(question);
  const bytes: number[] = [];
  const one = new Uint8Array(1);
  terminal.setRaw(true);
  try {
    for (;;) {
      const read = terminal.readSync(one);
      if (read === null || ENTER.includes(one[0]!)) break;
      if (one[0] === CONTROL_C || one[0] === CONTROL_D) throw new Failure("No password was given");
      if (ERASE.includes(one[0]!)) erase(bytes);
      else if (bytes.length < PASSWORD_BYTES_MAX) bytes.push(one[0]!);
    }
  } finally {
    terminal.setRaw(false);
    PROCESS_OUTPUT.err("\n");
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Takes the last character off: in UTF-8 that may be several bytes. */
function erase(bytes: number[]): void {
  while (bytes.length > 0 && (bytes.pop()! & 0xc0) === 0x80);
}
