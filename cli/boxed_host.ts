/**
 * The process that holds a stage, started by `deno task host` in a box (see
 * `box.ts`), with its flags as one JSON argument. It ends with whoever started
 * it, and reaches nothing that the box does not grant.
 */

import { join } from "node:path";
import type { Logger } from "@logtape/logtape";
import { assembleHost } from "../actors/assemble.ts";
import type { Departure } from "../actors/host/departing.ts";
import type { HostStatus } from "../actors/host/options.ts";
import { loadOrCreateIdentity } from "../actors/wire/identity.ts";
import { CACHE_BYTES, WorkerStage } from "../stages/mod.ts";
import { hostAccounts } from "./accounts.ts";
import { command, execute, PROCESS_OUTPUT } from "./arguments.ts";
import { type BoxedOptions, fromBox } from "./host_box.ts";
import { aborted, listenForInterruption } from "./interruption.ts";
import { startLogging } from "./logging.ts";
import { readManifest } from "./manifest_file.ts";
import { joinRun } from "./member.ts";
import { PledgeFile } from "./pledge_file.ts";
import { SnapshotFolder } from "./snapshot_folder.ts";
import { StageOpener } from "./stage_opener.ts";
import { beginWithWeights } from "./weight_files.ts";

async function serve(options: BoxedOptions): Promise<void> {
  using interruption = listenForInterruption({ leash: true });
  const manifest = await readManifest(options.run);
  const log = await startLogging("host", options);
  const identity = await loadOrCreateIdentity(join(options.dataDir, "identity.key"));
  const pledges = await PledgeFile.open(join(options.dataDir, "pledges"), manifest);
  await using member = await joinRun({
    ...options,
    manifest,
    identity,
    log,
    placesPath: join(options.dataDir, "places.json"),
  });
  const addresses = member.addresses();
  log.info(`Up as ${identity.peer}`, { addresses });
  tell(options, { kind: "up", peer: identity.peer, addresses });

  const cacheBytes = (options.cacheMb ?? CACHE_BYTES / 2 ** 20) * 2 ** 20;
  const opener = new StageOpener(
    options.devices,
    async (index, device, onLost) => {
      const stage = await WorkerStage.open({ manifest, index, device, cacheBytes, onLost });
      return await beginWithWeights(stage, options.run, manifest);
    },
    log,
  );
  const broken = Promise.race([member.broken, opener.exhausted]);
  broken.catch(() => {});
  using accounts = member.ledger === undefined ? undefined : await hostAccounts({
    at: member.ledger,
    identity,
    dataDir: options.dataDir,
    stage: options.stage,
    priceUnits: BigInt(options.priceUnits ?? 0),
    log,
  });
  const host = assembleHost(member.parts, {
    ...accounts,
    openStage: (index) => opener.open(index),
    ...options.stage === undefined ? {} : { stage: options.stage },
    device: options.devices[options.stage ?? 0][0].name,
    snapshots: new SnapshotFolder(join(options.dataDir, "snapshots"), manifest, (file, reason) => {
      log.warn("Passing over a snapshot that does not hold", { file, reason });
    }),
    pledges,
    mayExport: options.export,
    onChange: narrate(options, log),
  });
  try {
    await Promise.race([broken, aborted(interruption.signal)]);
    log.info("Leaving when the step is over; once more to leave at once");
    const departure = await Promise.race([broken, host.leave()]);
    tell(options, { kind: "left", ...departure });
    tellDeparture(log, departure);
    interruption.signal.throwIfAborted();
  } finally {
    host.stop();
  }
}

/** What becomes of the state of the stage. */
function tellDeparture(log: Logger, { stage, step, replicas, saved }: Departure): void {
  if (stage === undefined) return log.info("Left without a stage");
  const disk = saved ? "its state is on the disk here" : "its state is not on the disk here";
  if (replicas === 0) {
    log.warn(`Left stage ${stage} empty: ${disk}, and the run waits until a host brings it back`, { step });
  } else log.info(`Left stage ${stage}: ${disk}`, { step, ...replicas === undefined ? {} : { replicas } });
}

/** Tells a person what changes, and a machine everything. */
function narrate(options: BoxedOptions, log: Logger): (status: HostStatus) => void {
  let last = "";
  return (status) => {
    tell(options, { kind: "status", ...status });
    const { stage, serving, servesSessions, trouble } = status;
    const words = stage === undefined
      ? "Waiting for a trainer that gives this host a stage, or for none, to choose one"
      : serving
      ? `Serving stage ${stage}`
      : servesSessions
      ? `Serving stage ${stage} to readers: no trainer is there`
      : `Getting ready to serve stage ${stage}`;
    if (words + trouble === last) return;
    last = words + trouble;
    if (trouble === undefined) log.info(words, { step: status.step, accumulated: status.accumulated });
    else log.warn(words, { step: status.step, trouble });
  };
}

function tell(options: BoxedOptions, event: Readonly<Record<string, unknown>>): void {
  if (options.json) PROCESS_OUTPUT.out(`${JSON.stringify(event)}\n`);
}

const boxedHost = command({ name: "host", summary: "The boxed half of deno task host.", examples: [] })
  .action(() => serve(fromBox(Deno.args)));

if (import.meta.main) Deno.exit(await execute(boxedHost, []));
