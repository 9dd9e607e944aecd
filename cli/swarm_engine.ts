/**
 * A swarm as the engine of a gateway: its one model, and what a reader says of it
 * in the gateway's words. It draws nothing and knows no HTTP.
 */

import type { ReaderPeer } from "../actors/assemble.ts";
import { GenerationFailed } from "../actors/generation.ts";
import { type Engine, EngineBusy, EngineUnavailable, type Model } from "../gateway/mod.ts";

/**
 * Makes one.
 *
 * @param reader stays its owner's to stop.
 * @param onFailed told why a text failed where hosts, or a chain, have a say in the words: they are for its
 *   owner's eyes, and not for clients'.
 */
export function swarmEngine(
  reader: Pick<ReaderPeer, "generate" | "figures">,
  model: Model,
  onFailed: (error: GenerationFailed) => void = () => {},
): Engine {
  return {
    models: () => [model],
    async *generate({ model: _, ...wish }, signal) {
      try {
        yield* reader.generate(wish, signal);
      } catch (error) {
        if (!(error instanceof GenerationFailed)) throw error;
        const told = inOtherWords(error);
        if (told.message !== error.message) onFailed(error);
        throw told;
      }
    },
    figures() {
      const { sessions, repairs, hosts } = reader.figures();
      const empty = hosts.indexOf(0);
      return {
        sessions,
        repairs,
        ...empty < 0 ? {} : { trouble: `nobody is known who serves stage ${empty}` },
      };
    },
  };
}

function inOtherWords(error: GenerationFailed): Error {
  const { failure, message } = error;
  switch (failure.kind) {
    case "busy":
    case "noRoom":
      return new EngineBusy(message, failure.retryAfterMs);
    case "noHosts":
    case "stopped":
      return new EngineUnavailable(message);
    case "unanswered":
      return new EngineUnavailable(
        `Cannot go on with a text: its hosts fail, and so did ${failure.attempts} other paths`,
      );
    case "unpaid":
      return new EngineUnavailable("Cannot go on with a text: its hosts can't be paid now");
    // The gateway has looked at both: if the reader thinks otherwise, one of the two is wrong.
    case "invalid":
    case "tooLong":
      return error;
    default:
      return failure satisfies never;
  }
}
