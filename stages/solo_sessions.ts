/**
 * A text continued by all stages in one process: the truth that a swarm's answer
 * is compared with, and what its speed is measured by. It knows no peers.
 */

import { type DrawnToken, type Sampling, samplingUniform } from "../run/mod.ts";
import type { SessionRun } from "./sessions.ts";
import type { Stage } from "./stage.ts";

/**
 * Yields tokens that follow, as many as are wanted. The session ends with it.
 *
 * @param stages all of the run, in their order; they stay the caller's.
 * @param key names the session.
 * @param prompt token ids, at least one.
 * @throws {TypeError} if a stage keeps no sessions, or the text does not fit.
 */
export async function* continueSolo(
  { stages, key, prompt, tokens, sampling }: {
    readonly stages: readonly Stage[];
    readonly key: string;
    readonly prompt: Int32Array;
    readonly tokens: number;
    readonly sampling: Sampling;
  },
): AsyncGenerator<DrawnToken, void, void> {
  let text = prompt;
  let position = 0;
  try {
    for (let added = 0; added < tokens; added++) {
      const uniform = samplingUniform(sampling, text.length);
      const draw = { sampling, uniform, text, promptTokens: prompt.length };
      const data = text.subarray(position);
      const [drawn] = await extendSolo(stages, {
        sequences: [{ key, position, draw }],
        input: { dataType: "i32", shape: [1, data.length], data },
      });
      position = text.length;
      text = Int32Array.of(...text, drawn!.token);
      yield drawn!;
    }
  } finally {
    for (const stage of stages) stage.sessions?.end(key);
  }
}

/**
 * One run over sessions through all stages.
 *
 * @param run as stage 0 takes it; the last stage alone sees what is to be drawn.
 * @returns what was drawn, a place for each session.
 */
export async function extendSolo(
  stages: readonly Stage[],
  { sequences, input }: SessionRun,
): Promise<readonly (DrawnToken | undefined)[]> {
  for (const stage of stages) {
    if (!stage.sessions) {
      throw new TypeError(`Cannot continue a text: stage ${stage.index} keeps no sessions`);
    }
    const last = stage.index === stage.count - 1;
    const result = await stage.sessions.extend({
      sequences: last ? sequences : sequences.map(({ key, position }) => ({ key, position })),
      input,
    });
    if (result.kind === "drawn") return result.drawn;
    input = result.activation;
  }
  throw new TypeError("Cannot continue a text: no stage drew a token");
}
