/**
 * Opens the stage that a host is to hold, in the newest state of its disk, once the stage before it is
 * left: work that was begun there ends first, and there is never memory taken for two. Which stage that is
 * is for others to say.
 */

import type { Stage, StateManifest } from "../../stages/mod.ts";
import type { StateProof } from "../../routing/mod.ts";
import type { Holding } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What opening is made of. */
export interface OpeningParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly snapshots: Snapshots;
  /** Builds a stage in its initial state. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** Stages of the model. */
  readonly stages: number;
}

/** What opening asks of its host. */
export interface OpeningOwner {
  /** Nothing that is known of the stage holds for another: it is about to be closed. */
  readonly leave: (stage: Stage) => void;
  /** The stage is held, in this state, which these have signed. */
  readonly opened: (stage: Stage, manifest: StateManifest, proof: StateProof | undefined) => void;
}

/** How one host gets from stage to stage. */
export class Opening {
  readonly #parts: OpeningParts;
  readonly #owner: OpeningOwner;

  constructor(parts: OpeningParts, owner: OpeningOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Holds this stage as soon as it can, in the place of any other; while one is being opened it stays with that. */
  open(index: number): void {
    const { holding, queue, stages } = this.#parts;
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
          this.#parts.snapshots.open(kept);
          this.#owner.opened(stage, manifest, kept[0]?.proof);
        },
        // Without its stage a host is of no use: the supervisor decides whether to try again.
        (error) => {
          throw error;
        },
      );
    });
  }

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
