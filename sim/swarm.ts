/**
 * A whole swarm in one thread, on virtual time, from one seed: the product's own
 * peers, built by `assemble`, with an in-memory wire and directory. Tests and the
 * simulator run it; it holds no copy of any behaviour.
 */

import {
  assembleExporter,
  assembleHost,
  assembleReader,
  assembleTrainer,
  type ExporterParts,
  type ExporterPeer,
  type HostPeer,
  type Peer,
  type PeerParts,
  type ReaderParts,
  type ReaderPeer,
} from "../actors/assemble.ts";
import type { PeerId, Work } from "../actors/core/actor.ts";
import type { Failure } from "../actors/core/cell.ts";
import type { Clock } from "../actors/core/clock.ts";
import { Simulation } from "../actors/core/simulation.ts";
import type { TraceSink } from "../actors/core/trace.ts";
import type { Departure } from "../actors/host/departing.ts";
import type { PledgeStore } from "../actors/host/following.ts";
import type { HostStatus } from "../actors/host/options.ts";
import type { SnapshotStore } from "../actors/host/snapshots.ts";
import type { RunEvent } from "../actors/report.ts";
import { MemoryHub, type MemoryHubOptions } from "../actors/wire/memory_wire.ts";
import type { Wire } from "../actors/wire/wire.ts";
import { createHash } from "node:crypto";
import { type Device, ReferenceDevice } from "../kernels/mod.ts";
import { MemoryRendezvous, type Rendezvous, type Signer } from "../routing/mod.ts";
import { type Dataset, type Manifest, partition } from "../run/mod.ts";
import { CompiledStage, type Stage } from "../stages/mod.ts";

/** Simulated identities: a keyed hash stands in for a signature. Nobody in a simulation forges it. */
export function simulatedSigner(peer: PeerId): Signer {
  return { peer, sign: (bytes) => simulatedSignature(peer, bytes) };
}

/** Whether a simulated peer signed these bytes. */
export function simulatedVerify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  const expected = simulatedSignature(peer, bytes);
  return expected.length === signature.length && expected.every((byte, index) => byte === signature[index]);
}

function simulatedSignature(peer: PeerId, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(peer).update(bytes).digest());
}

/** What the calendar says at virtual time 0: some day, so that a clock that is behind is not before the epoch. */
const EPOCH_START_MS = 1_750_000_000_000;

/** What a trainer feeds. */
export type SimulatedData = Pick<Dataset, "corpus" | "microBatch" | "validationBatch">;

/** What a simulated swarm is made of. */
export interface SwarmOptions {
  readonly manifest: Manifest;
  readonly dataset: SimulatedData;
  readonly seed: number;
  /** Milliseconds that a peer's work takes; by default hosts of one speed. */
  readonly durationMs?: (peer: PeerId, work: Work) => number;
  readonly latencyMs?: number;
  readonly steps?: number;
  /** Builds a stage; by default on the reference device. */
  readonly openStage?: (index: number, peer: PeerId) => Promise<Stage>;
  readonly trace?: TraceSink;
  readonly snapshotEverySteps?: number;
  /** Hosts that let their states be exported; default: all. */
  readonly mayExport?: (peer: PeerId) => boolean;
  /** What goes wrong with a frame. */
  readonly fault?: MemoryHubOptions["fault"];
  /** The way between two peers; default: `latencyMs` and nothing else. */
  readonly link?: MemoryHubOptions["link"];
  /** Connections of one peer; default: as many as a wire of the product holds. */
  readonly peersMax?: number;
  /** A peer's clock; default: the simulation's. */
  readonly clockOf?: (peer: PeerId, clock: Clock) => Clock;
  /** A peer's wire, between it and the network; default: nothing stands there. */
  readonly wireOf?: (wire: Wire) => Wire;
  /** Where peers meet; default: a directory that all of them share. */
  readonly rendezvous?: (clock: Clock) => SharedRendezvous;
  /** Told of every event of the run. */
  readonly onEvent?: (event: RunEvent) => void;
  /** An actor crashed for good; default: the simulation throws. */
  readonly onCrash?: (peer: PeerId, failure: Failure) => void;
}

/** A rendezvous as all peers of one process share it. */
export interface SharedRendezvous {
  /** As one peer uses it. */
  of(peer: PeerId): Rendezvous;
  /** The peer is gone, in good order or not. */
  gone?(peer: PeerId): void;
}

/** A swarm on virtual time. */
export class SimulatedSwarm {
  readonly simulation: Simulation;
  readonly hub: MemoryHub;
  readonly rendezvous: SharedRendezvous;
  readonly events: RunEvent[] = [];
  readonly stages = new Map<PeerId, Stage>();
  readonly statuses = new Map<PeerId, HostStatus>();
  readonly #options: SwarmOptions;
  readonly #peers = new Map<PeerId, Peer>();
  readonly #hostPeers = new Map<PeerId, HostPeer>();
  readonly #eventsOf = new Map<PeerId, RunEvent[]>();
  readonly #wires = new Map<PeerId, Wire>();
  readonly #hosts = new Set<PeerId>();
  readonly #devices = new Map<PeerId, Device>();

  constructor(options: SwarmOptions) {
    this.#options = options;
    this.simulation = new Simulation({
      seed: options.seed,
      trace: options.trace,
      epochStartMs: EPOCH_START_MS,
      costs: {
        durationMs: options.durationMs ?? ((_, work) => defaultDurationMs(work)),
        lane: (_, work) => work.kind === "lookup" || work.kind === "announce" ? undefined : "compute",
      },
    });
    const { clock, entropy } = this.simulation;
    this.hub = new MemoryHub({
      clock,
      entropy: entropy.fork("links"),
      link: options.link ?? (() => ({ latencyMs: options.latencyMs ?? 1 })),
      fault: options.fault,
      peersMax: options.peersMax,
    });
    this.rendezvous = options.rendezvous?.(clock) ?? new MemoryRendezvous(() => clock.epochMs());
  }

  /** Starts a host; without `stage` it takes the neediest. */
  startHost(peer: PeerId, stage?: number, snapshots?: SnapshotStore, pledges?: PledgeStore): void {
    const { manifest } = this.#options;
    this.#hosts.add(peer);
    const openStage = this.#options.openStage ?? ((index) => {
      const device = new ReferenceDevice();
      this.#devices.set(peer, device);
      return CompiledStage.create({ device, manifest, index });
    });
    const host = assembleHost(this.#parts(peer), {
      openStage: async (index) => {
        const opened = await openStage(index, peer);
        this.stages.set(peer, opened);
        return opened;
      },
      stage,
      device: "reference",
      snapshots,
      pledges,
      snapshotEverySteps: this.#options.snapshotEverySteps,
      mayExport: this.#options.mayExport?.(peer),
      onChange: (status) => this.statuses.set(peer, status),
    });
    this.#peers.set(peer, host);
    this.#hostPeers.set(peer, host);
  }

  /** Starts a trainer; without `dataset` it has the data that all have. */
  startTrainer(peer: PeerId, resume = false, dataset = this.#options.dataset): void {
    const { manifest, steps } = this.#options;
    this.#peers.set(
      peer,
      assembleTrainer(this.#parts(peer), {
        dataset,
        steps,
        resume,
        // What work costs is what `durationMs` says, and that knows no stage.
        stageWork: partition(manifest).map(() => 1),
        onEvent: (event) => {
          this.events.push(event);
          this.#eventsOf.set(peer, [...this.eventsOf(peer), event]);
          this.#options.onEvent?.(event);
        },
      }),
    );
  }

  /** Starts a peer that takes weights out of the run. */
  startExporter(peer: PeerId, add: ExporterParts): ExporterPeer {
    const exporter = assembleExporter(this.#parts(peer), add);
    this.#peers.set(peer, exporter);
    return exporter;
  }

  /** Starts a home of texts. */
  startReader(peer: PeerId, add?: ReaderParts): ReaderPeer {
    const reader = assembleReader(this.#parts(peer), add);
    this.#peers.set(peer, reader);
    return reader;
  }

  /** Whether the peer is up. */
  isUp(peer: PeerId): boolean {
    return this.#peers.has(peer);
  }

  /** Hosts that are up. */
  hosts(): PeerId[] {
    return [...this.#hosts].filter((peer) => this.#peers.has(peer));
  }

  /** What each peer that is up has waiting, by actor. */
  mailboxes(): { readonly peer: PeerId; readonly mailboxes: Readonly<Record<string, number>> }[] {
    return [...this.#peers.values()].map((it) => ({ peer: it.peer, mailboxes: it.mailboxes() }));
  }

  /** Tells a host to leave. It is stopped once it is not needed any more. */
  async leave(peer: PeerId): Promise<Departure> {
    const departure = await this.#hostPeers.get(peer)!.leave();
    this.stop(peer);
    return departure;
  }

  /** Lets a peer leave in good order: its last words still go out. */
  stop(peer: PeerId): void {
    this.#peers.get(peer)?.stop();
    this.#forget(peer);
    void this.#wires.get(peer)?.close();
  }

  /** As a power cut would. */
  kill(peer: PeerId): void {
    this.#peers.get(peer)?.kill();
    this.#forget(peer);
    this.hub.kill(peer);
  }

  #forget(peer: PeerId): void {
    this.#peers.delete(peer);
    this.#hostPeers.delete(peer);
    this.stages.delete(peer);
    this.statuses.delete(peer);
    this.rendezvous.gone?.(peer);
  }

  /** Runs until the run is done or failed, or virtual time is up. @returns how it ended. */
  async finish(virtualMsMax = 3_600_000): Promise<SimulatedSwarm["end"]> {
    const untilMs = this.simulation.clock.nowMs() + virtualMsMax;
    await this.simulation.run({ untilMs, until: () => this.end !== undefined });
    return this.end;
  }

  /** Runs until `condition` holds. @throws {Error} if virtual time is up before. */
  async until(condition: () => boolean, virtualMsMax = 600_000): Promise<void> {
    const result = await this.simulation.run({
      untilMs: this.simulation.clock.nowMs() + virtualMsMax,
      until: condition,
    });
    if (result.ended !== "until") {
      throw new Error(`Cannot wait: the condition did not hold within ${virtualMsMax} ms`);
    }
  }

  /** How the run ended, if it has. */
  get end(): Extract<RunEvent, { kind: "done" | "failed" }> | undefined {
    return this.events.find((event) => event.kind === "done" || event.kind === "failed");
  }

  /** What one trainer was told. */
  eventsOf(trainer: PeerId): readonly RunEvent[] {
    return this.#eventsOf.get(trainer) ?? [];
  }

  /** The steps that were reported by whoever coordinated them, in order. */
  steps(): Extract<RunEvent, { kind: "step" }>[] {
    return this.events.flatMap((event) =>
      event.kind === "step" && event.stateHashes.length > 0 ? [event] : []
    );
  }

  /** Stops every peer. */
  async close(): Promise<void> {
    for (const peer of this.#peers.values()) peer.kill();
    await Promise.all([...this.#devices.values()].map((device) => device.close()));
  }

  #parts(peer: PeerId): PeerParts {
    const { simulation } = this;
    const { clockOf, wireOf, onCrash } = this.#options;
    const wire = this.hub.attach(peer);
    this.#wires.set(peer, wire);
    return {
      manifest: this.#options.manifest,
      clock: clockOf?.(peer, simulation.clock) ?? simulation.clock,
      entropy: simulation.entropy.fork(`${peer} at ${simulation.clock.nowMs()}`),
      performer: simulation.performer(peer),
      scheduler: simulation.scheduler,
      wire: wireOf?.(wire) ?? wire,
      rendezvous: this.rendezvous.of(peer),
      signer: simulatedSigner(peer),
      verify: simulatedVerify,
      addresses: () => [`/memory/${peer}`],
      learnAddresses: () => {},
      trace: simulation.trace,
      escalate: (failure) => {
        if (onCrash !== undefined) return onCrash(peer, failure);
        const { actor, error } = failure;
        throw new Error(`Cannot go on: ${actor} of ${peer} crashed for good`, { cause: error });
      },
    };
  }
}

function defaultDurationMs(work: Work): number {
  switch (work.kind) {
    case "forward":
      return 10;
    case "backward":
      return 20;
    case "lookup":
    case "announce":
      return 5;
    case "extend":
      return 1 + work.amount / 10;
    default:
      return 2;
  }
}
