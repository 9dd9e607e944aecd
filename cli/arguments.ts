/**
 * The shape that all commands share: help that teaches, refusals that name the
 * flag, and exit codes that a script can rely on. It knows no command; it does
 * no work of its own.
 */

import { Command, CommanderError } from "commander";

/** All is well. */
export const EXIT_OK = 0;
/** The command was understood, and failed. */
export const EXIT_FAILURE = 1;
/** The command, or a file that it names, is not what it should be. */
export const EXIT_USAGE = 2;
/** Somebody ended the command (Ctrl-C, SIGTERM). */
export const EXIT_INTERRUPTED = 130;

/** What was asked for can't be asked for: exit code 2, shown without a stack. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** What was asked for could not be done, for a reason that a person can act on: exit code 1, shown without a stack. */
export class Failure extends Error {
  override name = "Failure";
}

/** All that is to be said has been said: the command ends with this code, and nothing is shown. */
export class Exit extends Error {
  override name = "Exit";
  readonly code: number;

  constructor(code: number) {
    super(`Exit with code ${code}`);
    this.code = code;
  }
}

/** How a command introduces itself. */
export interface Introduction {
  /** The name of its task: `host` is shown as `deno task host`. */
  readonly name: string;
  /** What it is for, in a sentence or a few. */
  readonly summary: string;
  /** Lines to copy, each with what it does. */
  readonly examples: readonly {
    readonly does: string;
    readonly line: string;
  }[];
}

/** Where a command's own words go. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const encoder = new TextEncoder();

/** The process's own standard output and error. */
export const PROCESS_OUTPUT: Output = {
  out: (text) => writeAll(Deno.stdout, encoder.encode(text)),
  err: (text) => writeAll(Deno.stderr, encoder.encode(text)),
};

/** A command without options yet; `.option(…)` and `.action(…)` complete it. */
export function command(introduction: Introduction): Command {
  const examples = introduction.examples.map(({ does, line }) => `  # ${does}\n  $ ${line}\n`);
  return new Command(`deno task ${introduction.name}`)
    .description(introduction.summary)
    .helpOption("-h, --help", "show this help")
    .configureHelp({ showGlobalOptions: false, sortOptions: false })
    .showHelpAfterError(`(deno task ${introduction.name} --help explains every flag)`)
    .addHelpText("after", `\nExamples:\n${examples.join("\n")}`)
    .exitOverride();
}

/**
 * Parses and runs a command. Nothing is thrown: every way to end is an exit code.
 *
 * @param args without the program's name, as `Deno.args`.
 * @returns one of the exit codes above.
 */
export async function execute(
  program: Command,
  args: readonly string[],
  output: Output = PROCESS_OUTPUT,
): Promise<number> {
  program.configureOutput({ writeOut: output.out, writeErr: output.err });
  try {
    await program.parseAsync([...args], { from: "user" });
    return EXIT_OK;
  } catch (error) {
    // Commander has already written its message, or the help.
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    }
    if (error instanceof Exit) return error.code;
    if (error instanceof UsageError) {
      output.err(`error: ${error.message}\n`);
      return EXIT_USAGE;
    }
    output.err(error instanceof Failure ? `error: ${error.message}\n` : `error: ${describeBug(error)}\n`);
    return EXIT_FAILURE;
  }
}

/** The message, and where it comes from: what is no {@link Failure} was not foreseen. */
function describeBug(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.stack ?? error.message;
}

/** A pipe may take a part only, and what it left would be lost. */
function writeAll(file: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  let written = 0;
  while (written < bytes.length) {
    written += file.writeSync(bytes.subarray(written));
  }
}
