/** `deno task swarm-key`: makes the key of a private swarm. It gives it to nobody: that is its owner's to do. */

import { Argument, type Command } from "commander";
import { createSwarmKey } from "../actors/wire/swarm_key.ts";
import { command, execute, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { text } from "./options.ts";

const swarmKeyCommand: Command = command({
  name: "swarm-key",
  summary:
    "Make the key of a private swarm. Whoever has the file belongs, and talks to nobody who has not.\n" +
    "Give it to each member by a way that you trust; every command takes it as --swarm-key.",
  examples: [
    { does: "make one", line: "deno task swarm-key swarm.key" },
    {
      does: "use it",
      line: "deno task bootstrap --swarm-key swarm.key\n" +
        "  $ deno task host --run runs/demo.json --bootstrap /ip4/… --swarm-key swarm.key",
    },
  ],
})
  .addArgument(new Argument("<file>", "where to write it; it must not be there yet").argParser(text))
  .action(make);

async function make(file: string): Promise<void> {
  try {
    const { fingerprint } = await createSwarmKey(file);
    PROCESS_OUTPUT.out(`${file}\n`);
    PROCESS_OUTPUT.err(`Made the key of private swarm ${fingerprint}; keep it as you keep a password\n`);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new UsageError(`Cannot make ${file}: it is there, and a key that is written over is lost`);
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot make ${file}: there is no such folder`);
    }
    throw error;
  }
}

if (import.meta.main) Deno.exit(await execute(swarmKeyCommand, Deno.args));
