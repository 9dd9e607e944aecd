/**
 * `deno task bootstrap`: introduces peers to each other. It serves the hash
 * table and nothing else: it knows no run and holds no stage.
 */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { loadOrCreateIdentity } from "../actors/wire/identity.ts";
import { command, execute, Exit, EXIT_INTERRUPTED, PROCESS_OUTPUT } from "./arguments.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { holdDataDirectory } from "./data_directory.ts";
import { aborted, listenForInterruption } from "./interruption.ts";
import { startLogging } from "./logging.ts";
import { type NetworkOptions, networkOptions, nodeSettings, tellReach } from "./network.ts";
import { leashOption, type LogLevel, logLevelOption, text } from "./options.ts";
import { cannotListen, complain } from "./member.ts";
import { openNode } from "./peer.ts";

interface BootstrapOptions extends NetworkOptions {
  /** Whether to relay; true unless `--no-relaying` is given. */
  readonly relaying: boolean;
  readonly dataDir: string;
  readonly logLevel: LogLevel;
  readonly leash?: boolean;
}

const bootstrapCommand: Command = networkOptions(
  command({
    name: "bootstrap",
    summary:
      "Introduce peers to each other. Prints the addresses to give to --bootstrap, one a line, and stays up.\n" +
      "Others must be able to dial it. It also relays for peers that nobody can dial.\n" +
      "Several of them, each told of another, keep a swarm reachable when one is gone.",
    examples: [
      { does: "on this machine", line: "deno task bootstrap" },
      {
        does: "at a port of your choice, beside another one",
        line:
          "deno task bootstrap --listen /ip4/0.0.0.0/tcp/4010 --bootstrap /ip4/203.0.113.7/tcp/4001/p2p/12D3…",
      },
      {
        does: "under a public name, for a private swarm",
        line: "deno task bootstrap --announce /dns4/swarm.example.org/tcp/4001 --swarm-key swarm.key",
      },
    ],
  }),
  { listen: "/ip4/0.0.0.0/tcp/4001" },
)
  .option("--no-relaying", "do not carry for peers that nobody can dial; else it is done, within limits")
  .addOption(
    new Option("--data-dir <folder>", "where its key is kept, so that its addresses stay the same")
      .argParser(text).default(join(HOME_DIRECTORY, "bootstrap"), ".murmuration/bootstrap"),
  )
  .addOption(logLevelOption())
  .addOption(leashOption())
  .action(bootstrap);

async function bootstrap(options: BootstrapOptions): Promise<void> {
  using interruption = listenForInterruption(options);
  using data = await holdDataDirectory(options.dataDir);
  const log = await startLogging("bootstrap", options);
  const settings = await nodeSettings(options);
  if (settings.swarmKey) log.info(`In private swarm ${settings.swarmKey.fingerprint}`);
  const node = await openNode({
    ...settings,
    identity: await loadOrCreateIdentity(join(data.path, "identity.key")),
    serveDht: true,
    offerRelay: options.relaying,
    onBootstrapFailure: complain(log),
    onReach: (reach, node) => tellReach(log, options, reach, node),
  }).catch(cannotListen);
  PROCESS_OUTPUT.out(node.addresses().map((address) => `${address}\n`).join(""));
  log.info("Introducing peers to each other until somebody ends it; the addresses for --bootstrap are above");
  await aborted(interruption.signal);
  await node.close();
  throw new Exit(EXIT_INTERRUPTED);
}

if (import.meta.main) Deno.exit(await execute(bootstrapCommand, Deno.args));
