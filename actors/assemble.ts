/**
 * Builds one peer from clock, entropy, wire, directory and roles: the one file
 * that sees every room. The commands build peers with it, and so do the tests
 * and the simulator, so that what is simulated is the product.
 */

import { averager } from "./averager.ts";
import type { Behaviour, PeerId } from "./core/actor.ts";
import type { Clock } from "./core/clock.ts";
import type { Entropy } from "./core/entropy.ts";
import type { Failure } from "./core/cell.ts";
import type { Performer } from "./core/performer.ts";
import type { Scheduler } from "./core/scheduler.ts";
import { ActorSystem } from "./core/system.ts";
import type { TraceSink } from "./core/trace.ts";
import { coordinator } from "./coordinator.ts";
import { earner, type EarnerOptions } from "./earner.ts";
import {
  type Generates,
  type GenerationFact,
  GenerationFailed,
  type GenerationRequest,
} from "./generation.ts";
import { exporter, type WeightSink } from "./exporter.ts";
import { host } from "./host.ts";
import type { Departure } from "./host/departing.ts";
import type { PledgeStore } from "./host/following.ts";
import type { HostStatus, Tolls } from "./host/options.ts";
import type { SnapshotStore } from "./host/snapshots.ts";
import { ANNOUNCE_VALIDITY_MS, MAILBOX_MESSAGES_MAX, REFUSED_RETRY_MS } from "./limits.ts";
import { fromFrame, type Message, recipientOf, type RemoteMessage, toFrame } from "./messages.ts";
import { type Payments, reader, type ReaderFigures } from "./reader.ts";
import { rootOf } from "./receipts.ts";
import type { RunEvent } from "./report.ts";
import type { Role } from "./role.ts";
import { turnedAway } from "./session_checks.ts";
import { scout } from "./scout.ts";
import { settler, type SettlerOptions } from "./settler.ts";
import { TokenStream } from "./token_stream.ts";
import { trainer } from "./trainer.ts";
import type { Wire } from "./wire/wire.ts";
import { type Admits, Directory, type Rendezvous, type Signer, type Verify } from "../routing/mod.ts";
import {
  type Dataset,
  learningRate,
  type Manifest,
  manifestHash,
  partition,
  stageFlopsPerToken,
  updateScale,
} from "../run/mod.ts";
import { checkStateManifest, type Stage, stageLayout } from "../stages/mod.ts";

/** What every peer is built from, whatever its roles. */
export interface PeerParts {
  /** The run. Its hash keeps frames and announcements of other runs out. */
  readonly manifest: Manifest;
  /** Time of all actors. */
  readonly clock: Clock;
  /** Chance; each actor draws from its own fork. */
  readonly entropy: Entropy;
  /** Does what takes time: the stage's work, look-ups, announcements. */
  readonly performer: Performer;
  /** Gives the actors their turns. */
  readonly scheduler: Scheduler;
  /** The way to other peers, not yet opened. `wire.self` is the name of the peer. */
  readonly wire: Wire;
  /** Where peers that don't know each other meet. */
  readonly rendezvous: Rendezvous;
  /** Signs announcements, as `wire.self`. */
  readonly signer: Signer;
  /** Checks those of others. */
  readonly verify: Verify;
  /** Who may offer what. Default: everybody anything. */
  readonly admits?: Admits;
  /** Where others can reach this peer. */
  readonly addresses: () => readonly string[];
  /** Where another peer can be reached. */
  readonly learnAddresses: (peer: PeerId, addresses: readonly string[]) => void;
  /** Default: nothing is kept. */
  readonly trace?: TraceSink;
  /** A role has crashed once too often; the peer is of no use any more. */
  readonly escalate: (failure: Failure) => void;
}

/** A peer at work. */
export interface Peer {
  /** Its name, that of its wire. */
  readonly peer: PeerId;
  /** Messages that wait, by actor. */
  mailboxes(): Readonly<Record<string, number>>;
  /** Ends it in good order. The wire is its owner's to close. */
  stop(): void;
  /** Ends it as a power cut would. */
  kill(): void;
}

/** A peer that serves a stage. */
export interface HostPeer extends Peer {
  /**
   * Leaves when the step that it takes part in is over, so that nothing has to be computed again. The
   * peer is its owner's to stop then. A peer that has stopped leaves nothing to wait for.
   */
  leave(): Promise<Departure>;
}

/** What a host adds. */
export interface HostParts {
  /** Builds a stage in its initial state; what it throws crashes the host's actor. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** The stage that the owner asks for; without it the neediest. */
  readonly stage?: number;
  /** `onnx`, `reference`, …: announced. */
  readonly device: string;
  /** Without it the state lives only as long as the peer. */
  readonly snapshots?: SnapshotStore;
  /** Without it a host that starts again has forgotten whom it follows, and has no voice in who leads. */
  readonly pledges?: PledgeStore;
  /** Optimizer steps between two snapshots. Default: 10. */
  readonly snapshotEverySteps?: number;
  /** Whether the state is given to those who say that they take it out of the run. Default: it is. */
  readonly mayExport?: boolean;
  /** Keeps account of its work, where the run has a ledger. */
  readonly accounts?: Omit<EarnerOptions, "run" | "tokensPerMicroBatch">;
  /** Takes money for tokens; without it texts are continued for nothing. */
  readonly tolls?: Tolls & { readonly priceUnits: bigint };
  /** Told of each change of what the host's owner sees. */
  readonly onChange?: (status: HostStatus) => void;
}

/** What a trainer adds. */
export interface TrainerParts {
  /** Where the token ids come from, `[B, T]` as the manifest says. */
  readonly dataset: Pick<Dataset, "corpus" | "microBatch" | "validationBatch">;
  /** Steps after which to stop; default: as the manifest says. */
  readonly steps?: number;
  /** Whether to go on with a run that has taken steps already. */
  readonly resume: boolean;
  /** The last step that its owner knows of from before; default: none. A later one is told of, whoever led to it. */
  readonly knownStep?: number;
  /** Whether it may go on without most of the hosts that took the last step. Default: no. */
  readonly withoutQuorum?: boolean;
  /** Work of one micro-batch at each stage, in any unit. Default: its floating-point operations. */
  readonly stageWork?: readonly number[];
  /** Between two looks at the balance of stages; 0: nobody is sent elsewhere. Default: as the manifest says. */
  readonly rebalanceEverySeconds?: number;
  /** Keeps the accounts of all hosts, where the run has a ledger. */
  readonly accounts?: Omit<SettlerOptions, "run" | "onSettled">;
  /** Told of every event of the run, in order. */
  readonly onEvent: (event: RunEvent) => void;
}

/** A peer that trains. */
export interface TrainerPeer extends Peer {
  /** Once no step will come: puts down on the ledger what is left to be. At once where there is none. */
  settle(): Promise<void>;
}

/** Steps between two snapshots, unless the host's owner says otherwise. */
const SNAPSHOT_EVERY_STEPS = 10;

/** A peer that serves one stage. */
export function assembleHost(parts: PeerParts, add: HostParts): HostPeer {
  const { manifest } = parts;
  const { model, weights, sequenceLength } = manifest;
  const slices = partition(manifest);
  const stages = slices.length;
  if (add.stage !== undefined && !(add.stage < stages)) {
    throw new RangeError(
      `Cannot serve stage ${add.stage}: the model of run ${manifest.name} has stages 0 to ${stages - 1}`,
    );
  }
  const left = Promise.withResolvers<Departure>();
  const run = manifestHash(manifest);
  const tokensPerMicroBatch = manifest.sequencesPerMicroBatch * sequenceLength;
  const { accounts } = add;
  const { system, ...peer } = assemble(parts, add.device, [
    averager,
    ...accounts === undefined ? [] : [earner({ ...accounts, run, tokensPerMicroBatch })],
    host({
      openStage: add.openStage,
      layout: (index) => stageLayout(manifest.model, slices[index]),
      stage: add.stage,
      bounds: { vocabulary: model.vocabulary, width: model.width, sequenceLength, stages },
      firstStates: weights.kind === "random" ? undefined : weights.states,
      run,
      signer: parts.signer,
      verify: parts.verify,
      tokensPerMicroBatch,
      ...accounts === undefined ? {} : { rootOf },
      snapshots: add.snapshots,
      pledges: add.pledges,
      snapshotEverySteps: add.snapshotEverySteps ?? SNAPSHOT_EVERY_STEPS,
      mayExport: add.mayExport,
      onChange: add.onChange,
      onLeft: left.resolve,
      ...add.tolls === undefined ? {} : { tolls: add.tolls },
    }),
  ], add.tolls?.priceUnits);
  return {
    ...peer,
    leave() {
      if (!system.tell({ actor: "host" }, { kind: "leave" })) {
        left.resolve({ stage: undefined, step: 0, replicas: undefined, saved: false });
      }
      return left.promise;
    },
  };
}

/** A peer that feeds data to a run and coordinates its steps. */
export function assembleTrainer(parts: PeerParts, add: TrainerParts): TrainerPeer {
  const { manifest } = parts;
  const slices = partition(manifest);
  const stages = slices.length;
  const steps = add.steps ?? manifest.steps;
  const { clipNorm } = manifest.optimizer;
  const { accounts } = add;
  const settled = Promise.withResolvers<void>();
  const onEvent = (event: RunEvent) => {
    if (event.kind === "step") {
      system.tell({ actor: "settler" }, { kind: "stepServed", step: event.step - 1, served: event.served });
    }
    add.onEvent(event);
  };
  const { system, ...peer } = assemble(parts, "none", [
    ...accounts === undefined
      ? []
      : [settler({ ...accounts, run: manifestHash(manifest), onSettled: settled.resolve })],
    trainer({
      corpus: add.dataset.corpus,
      microBatch: (step, index) => add.dataset.microBatch(step, index),
      validationBatch: (index) => add.dataset.validationBatch(index),
      shape: [manifest.sequencesPerMicroBatch, manifest.sequenceLength],
      stages,
      steps,
      validation: manifest.validation.fraction > 0 ? manifest.validation : { everySteps: 1, microBatches: 0 },
      onEvent,
    }),
    coordinator({
      corpus: add.dataset.corpus,
      stages,
      microBatches: manifest.microBatchesPerStep,
      steps,
      floor: manifest.replicas.floor,
      balance: {
        work: add.stageWork ?? slices.map((slice) => stageFlopsPerToken(manifest, slice)),
        ceiling: manifest.replicas.ceiling,
        hysteresis: manifest.rebalance.hysteresis,
      },
      rebalancePeriodMs: (add.rebalanceEverySeconds ?? manifest.rebalance.everySeconds) * 1000,
      updateScale: (squareSum, tokens) => updateScale(squareSum, tokens, clipNorm).scale,
      learningRate: (step) => learningRate(manifest.optimizer, step),
      resume: add.resume,
      knownStep: add.knownStep ?? 0,
      withoutQuorum: add.withoutQuorum ?? false,
      onEvent,
    }),
  ]);
  return {
    ...peer,
    settle() {
      if (accounts === undefined || !system.tell({ actor: "settler" }, { kind: "settle" })) settled.resolve();
      return settled.promise;
    },
  };
}

/** A peer that has texts continued. */
export interface ReaderPeer extends Peer, Generates {
  /** How it does now. */
  figures(): ReaderFigures;
  /** Once all texts have ended: pays what hosts are owed. */
  settle(): Promise<void>;
}

/** What a reader adds. */
export interface ReaderParts {
  /** Told of what happens to the texts. */
  readonly onFact?: (fact: GenerationFact) => void;
  /** Pays hosts; without it they have to work for nothing. */
  readonly payments?: Payments;
  /** Hosts that want more for a token are not asked, in units. Default: those that want anything. */
  readonly priceUnitsMax?: number;
}

/** A peer that reads from the model. */
export function assembleReader(parts: PeerParts, add: ReaderParts = {}): ReaderPeer {
  const { model, sequenceLength } = parts.manifest;
  const stages = partition(parts.manifest).length;
  const streams = new Map<number, TokenStream>();
  const watches = new Map<number, NonNullable<GenerationRequest["isLast"]>>();
  let settled = Promise.withResolvers<void>();
  let figures: ReaderFigures = { sessions: 0, waiting: 0, repairs: 0, hosts: Array(stages).fill(0) };
  const over = (request: number) => {
    const stream = streams.get(request);
    streams.delete(request);
    watches.delete(request);
    return stream;
  };
  let last = 0;
  const { system, ...peer } = assemble(parts, "none", [
    reader({
      stages,
      vocabulary: model.vocabulary,
      tokensMax: sequenceLength,
      onToken(request, token) {
        const stream = streams.get(request);
        stream?.push(token);
        try {
          if (watches.get(request)?.(token.token)) over(request)?.end();
        } catch (error) {
          over(request)?.fail(error);
        }
        return stream?.open ?? false;
      },
      onEnd: (request) => over(request)?.end(),
      onFailed: (request, error) => over(request)?.fail(error),
      onFact: add.onFact,
      ...add.payments === undefined ? {} : { payments: add.payments, priceUnitsMax: add.priceUnitsMax },
      onSettled: () => settled.resolve(),
      onFigures: (now) => figures = now,
    }),
  ]);
  const stopAll = () => {
    const reason = "Cannot go on with a text: this peer has stopped";
    for (const request of [...streams.keys()]) {
      over(request)?.fail(new GenerationFailed({ kind: "stopped" }, reason));
    }
  };
  return {
    ...peer,
    stop() {
      peer.stop();
      stopAll();
    },
    kill() {
      peer.kill();
      stopAll();
    },
    figures: () => figures,
    settle() {
      settled = Promise.withResolvers();
      if (!system.tell({ actor: "reader" }, { kind: "settle" })) settled.resolve();
      return settled.promise;
    },
    generate({ isLast, ...wish }, signal) {
      const request = ++last;
      const stream = new TokenStream({
        begin() {
          streams.set(request, stream);
          if (isLast !== undefined) watches.set(request, isLast);
          if (system.tell({ actor: "reader" }, { ...wish, kind: "generate", request })) return;
          const failure = system.running
            ? { kind: "busy", retryAfterMs: REFUSED_RETRY_MS } as const
            : { kind: "stopped" } as const;
          const why = system.running ? "this peer's mailbox is full" : "this peer has stopped";
          over(request)?.fail(new GenerationFailed(failure, `Cannot continue a text: ${why}`));
        },
        leave() {
          over(request);
          // If there is no room for that word, the next token finds that nobody wants it.
          system.tell({ actor: "reader" }, { kind: "leaveText", request });
        },
      }, signal);
      return stream.tokens;
    },
  };
}

/** What an exporter adds. */
export interface ExporterParts {
  /** Stages whose weights are wanted. */
  readonly stages: readonly number[];
  /** States of one step were found, by stage; says where their pieces go. */
  readonly open: (
    step: number,
    states: ReadonlyMap<number, string>,
  ) => Promise<ReadonlyMap<number, WeightSink>>;
}

/** A peer that takes weights out of a run. */
export interface ExporterPeer extends Peer {
  /** Resolves when all pieces are where they belong; rejects if that can't be. */
  readonly done: Promise<void>;
}

/** A peer that fetches the states of stages, to be used outside of the run. */
export function assembleExporter(parts: PeerParts, add: ExporterParts): ExporterPeer {
  const { manifest } = parts;
  const layouts = partition(manifest).map((slice) => stageLayout(manifest.model, slice));
  const end = Promise.withResolvers<void>();
  end.promise.catch(() => {});
  const { system: _, ...peer } = assemble(parts, "none", [
    exporter({
      run: manifestHash(manifest),
      stages: add.stages,
      verify: parts.verify,
      firstStates: manifest.weights.kind === "random" ? undefined : manifest.weights.states,
      check: (stage, state) => checkStateManifest(layouts[stage], state),
      open: add.open,
      onEnd: (error) => error === undefined ? end.resolve() : end.reject(error),
    }),
  ]);
  return { ...peer, done: end.promise };
}

function assemble(
  parts: PeerParts,
  device: string,
  roles: readonly Behaviour<Role, Message>[],
  priceUnits = 0n,
): Peer & { readonly system: ActorSystem<Message> } {
  const { wire, clock } = parts;
  const run = manifestHash(parts.manifest);
  const directory = new Directory({
    run,
    rendezvous: parts.rendezvous,
    signer: parts.signer,
    verify: parts.verify,
    admits: parts.admits,
    epochMs: () => clock.epochMs(),
    onRejected: (peer, reason) =>
      parts.trace?.({
        atMs: clock.nowMs(),
        peer: wire.self,
        actor: "directory",
        event: "rejected",
        fields: { peer, reason },
      }),
  });
  const system = new ActorSystem<Message>({
    peer: wire.self,
    clock,
    entropy: parts.entropy,
    performer: parts.performer,
    scheduler: parts.scheduler,
    mailboxMessagesMax: MAILBOX_MESSAGES_MAX,
    trace: parts.trace,
    escalate: parts.escalate,
    // A role only ever addresses messages of the protocol to another peer.
    transport: (peer, _actor, message) => wire.send(peer, toFrame(run, message as RemoteMessage)),
  });
  wire.open({
    onFrame(from, frame) {
      const message = fromFrame(run, frame);
      if (system.deliver(from, recipientOf(message), message)) return;
      if (message.kind === "forward") {
        const { walk, stage } = message;
        const reason = "this peer does not serve, or its mailbox is full";
        const refused = { kind: "refused", walk, stage, retryAfterMs: REFUSED_RETRY_MS, reason } as const;
        wire.send(from, toFrame(run, refused));
      } else if (message.kind === "extend") {
        for (const refused of turnedAway(message)) wire.send(from, toFrame(run, refused));
      }
    },
    onLost(peer, reason) {
      for (const actor of system.actors) system.tell({ actor }, { kind: "peerLost", peer, reason });
    },
  });
  system.spawn(scout({
    announce: (offer) =>
      directory.announce({
        ...offer,
        addresses: [...parts.addresses()],
        device,
        ...priceUnits === 0n ? {} : { priceUnits: `${priceUnits}` },
        validityMs: ANNOUNCE_VALIDITY_MS,
      }),
    lookUp: (service) => directory.lookUp(service),
    doubt: (peer) => directory.doubt(peer),
    learnAddresses: parts.learnAddresses,
  }));
  for (const role of roles) system.spawn(role);
  return {
    peer: wire.self,
    system,
    mailboxes: () => Object.fromEntries(system.actors.map((actor) => [actor, system.waiting(actor)])),
    stop: () => system.stop(),
    kill: () => system.kill(),
  };
}
