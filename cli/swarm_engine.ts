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
 */
export function swarmEngine(reader: Pick<ReaderPeer, "generate" | "figures">, model: Model): Engine {
  return {
    models: () => [model],
    async *generate({ model: _, ...wish }, signal) {
      try {
        yield* reader.generate(wish, signal);
      } catch (error) {
        throw error instanceof GenerationFailed ? inOtherWords(error) : error;
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
    case "unanswered":
    case "unpaid":
    case "stopped":
      return new EngineUnavailable(message);
    // The gateway has looked at both: if the reader thinks otherwise, one of the two is wrong.
    case "invalid":
    case "tooLong":
      return error;
    default:
      return failure satisfies never;
  }
}
