/**
 * One answer: from the tokens that an engine draws to the pieces of text that a
 * client is sent, with their log-probabilities where they are wanted. It ends the
 * answer where a stop string begins. It knows neither HTTP nor OpenAI's shapes.
 */

import type { DrawnToken } from "../run/sampling.ts";
import { TextStream } from "../run/text_stream.ts";
import type { Tokenizer } from "../run/tokenizer.ts";
import { StopText } from "./stop_text.ts";
import { type AnswerToken, TokenAccount } from "./token_account.ts";

/** Why an answer is over: the model or a stop string ended it, or there was no room for more. */
export type Finish = "stop" | "length";

/** A piece of an answer. */
export interface Piece {
  /** May be empty: a character, or what could be a stop string, may need further tokens to be told. */
  readonly text: string;
  /** Tokens that are told with this piece, if log-probabilities are wanted. */
  readonly tokens: readonly AnswerToken[];
  /** In the last piece alone. */
  readonly finish?: Finish;
}

/** What an answer is made of. */
export interface AnswerSource {
  readonly tokenizer: Tokenizer;
  /** Strings that end it. */
  readonly stops: readonly string[];
  /** Tokens that its text goes on from; none if it is a text of its own. */
  readonly after: ArrayLike<number>;
  /** Text that it begins with, which no token is drawn for. */
  readonly echo: string;
  /** Whether its tokens are to be told. */
  readonly logProbabilities: boolean;
  /** The engine's tokens; what is left of them when the answer is over is not asked for. */
  readonly drawn: AsyncIterable<DrawnToken>;
}

/**
 * Watches for the token at which an answer is over because of a stop string, ahead of whoever takes its pieces.
 *
 * @returns to be told of each token; `undefined` if there is nothing to watch for.
 */
export function stopWatch(
  { tokenizer, stops, after }: Pick<AnswerSource, "tokenizer" | "stops" | "after">,
): ((token: number) => boolean) | undefined {
  if (stops.length === 0) return undefined;
  const text = new TextStream(tokenizer, after);
  const stop = new StopText(stops);
  return (token) => {
    stop.push(text.push(token));
    return stop.stopped;
  };
}

/** Yields an answer piece by piece: one for each token that lets something be told, and a last one. */
export async function* answer(source: AnswerSource): AsyncGenerator<Piece, void, void> {
  const { tokenizer } = source;
  const text = new TextStream(tokenizer, source.after);
  const stop = new StopText(source.stops);
  const account = new TokenAccount(tokenizer, source.after, source.echo.length);
  if (source.echo !== "") yield { text: source.echo, tokens: [] };
  let finish: Finish = "length";
  let last: Piece | undefined;
  for await (const drawn of source.drawn) {
    if (tokenizer.endOfText?.includes(drawn.token)) {
      finish = "stop";
      break;
    }
    const whole = text.push(drawn.token);
    if (source.logProbabilities) account.add(drawn, whole);
    const certain = stop.push(whole);
    const tokens = account.tell(certain.length, stop.stopped);
    if (stop.stopped) {
      // Told when nothing more is drawn: its client may take its time.
      last = { text: certain, tokens, finish: "stop" };
      break;
    }
    if (certain !== "" || tokens.length > 0) yield { text: certain, tokens };
  }
  if (last !== undefined) return yield last;
  const certain = stop.push(text.end());
  const rest = certain + stop.end();
  yield {
    text: rest,
    tokens: account.tell(rest.length, true),
    finish: stop.stopped ? "stop" : finish,
  };
}
