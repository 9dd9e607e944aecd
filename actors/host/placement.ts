/**
 * Which stage a host holds: the one that its owner asked for, else the one that a coordinator gives it, or
 * that it has chosen while there was none; and how it gets from one to another. Work that was begun at a
 * stage ends before that is left, and there is never memory taken for two. Which stage needs a host is
 * decided elsewhere.
 */

import type { StateProof } from "../../routing/mod.ts";
import type { Stage, StateManifest } from "../../stages/mod.ts";
import type { Holding } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What a placement is made of. */
export interface PlacementParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly snapshots: Snapshots;
  /** Builds a stage in its initial state. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** Stages of the model. */
  readonly stages: number;
  /** The stage that the owner asks for, and no other. */
  readonly asked: number | undefined;
}

/** What a placement asks of its host. */
export interface PlacementOwner {
  /** Whatever is under way at this stage is broken off: the host is going to leave it. */
  readonly uproot: (reason: string) => void;
  /** Nothing that is known of the stage holds for another: it is about to be closed. */
  readonly leave: (stage: Stage) => void;
  /** The stage is held, in this state, which these have signed. */
  readonly opened: (stage: Stage, manifest: StateManifest, proof: StateProof | undefined) => void;
  /** It stays where it is, and the coordinator does not know yet that it is there. */
  readonly greet: () => void;
}

/** The place of one host. */
export class Placement {
  readonly #parts: PlacementParts;
  readonly #owner: PlacementOwner;
  #isOwnChoice = false;

  constructor(parts: PlacementParts, owner: PlacementOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Whether it may hold another stage: its owner has asked for none. */
  get isMovable(): boolean {
    return this.#parts.asked === undefined;
  }

  /** Whether it has chosen its stage itself, and no coordinator has given it one since. */
  get isOwnChoice(): boolean {
    return this.#isOwnChoice;
  }

  /** Opens the stage that the owner asks for, if any. */
  start(): void {
    if (this.#parts.asked !== undefined) this.#open(this.#parts.asked);
  }

  /** It has chosen this stage itself, as nobody leads. */
  choose(index: number): void {
    this.#isOwnChoice = true;
    this.#settle(index);
  }

  /** A coordinator gives a stage to a host that has none, or only one that it chose itself. */
  give(index: number): void {
    const { holding } = this.#parts;
    if (holding.isOpening) return;
    this.#isOwnChoice = false;
    if (holding.stage?.index === index) this.#owner.greet();
    else this.#settle(index);
  }

  /** A coordinator has it hold another stage. */
  move(index: number): void {
    if (this.isMovable && this.#parts.holding.stage?.index !== index) this.#settle(index);
  }

  #settle(index: number): void {
    if (this.#parts.holding.stage !== undefined) this.#owner.uproot(`this host moves to stage ${index}`);
    this.#open(index);
  }

  #open(index: number): void {
    const { holding, queue, snapshots, stages } = this.#parts;
    if (holding.isOpening || index >= stages) return;
    holding.open();
    queue.alone(() => {
      const before = holding.stage;
      if (before !== undefined) this.#owner.leave(before);
      queue.start(
        { kind: "open", amount: 1 },
        () => this.#exchange(before, index),
        ({ stage, kept, manifest }) => {
          holding.hold(stage);
          snapshots.open(kept);
          this.#owner.opened(stage, manifest, kept[0]?.proof);
        },
        // Without its stage a host is of no use: the supervisor decides whether to try again.
        (error) => {
          throw error;
        },
      );
    });
  }

  /** Another stage for the one before, in the newest state of the disk. */
  async #exchange(before: Stage | undefined, index: number) {
    const { snapshots, openStage } = this.#parts;
    await before?.close();
    const stage = await openStage(index);
    const kept = await snapshots.list(index);
    if (kept.length > 0) {
      const { manifest, bytes } = await snapshots.load(index, kept[0].stateHash);
      await stage.importState(manifest, bytes);
    }
    return { stage, kept, manifest: await stage.describeState() };
  }
}
