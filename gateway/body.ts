/**
 * The JSON body of a request, received within bounds of size and time, its own
 * and those of all that are being received. It knows no schema.
 */

import type { Clock } from "../actors/core/clock.ts";
import { BODY_BYTES_MAX, BODY_BYTES_TOTAL_MAX, BODY_MS_MAX } from "./limits.ts";
import { Problem } from "./problem.ts";

/** Receives bodies. */
export class BodyReader {
  readonly #clock: Clock;
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes that have been received of bodies that are not whole yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Receives one.
   *
   * @throws {Problem} 415 if it is not said to be JSON, 413 if it is too large, 408 if it comes too slowly,
   *   429 if there is no room for it now, 400 if it is no JSON after all.
   */
  async readJson(request: Request): Promise<unknown> {
    const type = request.headers.get("content-type")?.split(";")[0].trim().toLowerCase();
    if (type !== "application/json") {
      throw new Problem(
        415,
        `Cannot read the request: its body is ${type || "of no type"}, not application/json`,
      );
    }
    const coding = request.headers.get("content-encoding") ?? "identity";
    if (coding.toLowerCase() !== "identity") {
      throw new Problem(415, `Cannot read the request: its body is coded as ${coding}`);
    }
    if (Number(request.headers.get("content-length")) > BODY_BYTES_MAX) throw tooLarge();
    return parseJson(await this.#receive(request.body));
  }

  async #receive(body: Request["body"]): Promise<Uint8Array> {
    if (body === null) return new Uint8Array();
    const reader = body.getReader();
    let late = false;
    const timer = this.#clock.after(BODY_MS_MAX, () => {
      late = true;
      // Ends the read that waits.
      reader.cancel().catch(() => {});
    });
    const chunks: Uint8Array[] = [];
    let length = 0;
    try {
      for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
        chunks.push(value!);
        length += value!.length;
        this.#bytes += value!.length;
        if (length > BODY_BYTES_MAX) throw tooLarge();
        if (this.#bytes > BODY_BYTES_TOTAL_MAX) {
          throw new Problem(
            429,
            `Cannot read the request: ${this.#bytes} bytes of others are being received`,
            {
              code: "overloaded",
              retryAfterSeconds: 1,
            },
          );
        }
      }
      if (late) {
        throw new Problem(408, `Cannot read the request: its body was not there after ${BODY_MS_MAX} ms`);
      }
      return joined(chunks, length);
    } finally {
      timer.cancel();
      this.#bytes -= length;
      reader.cancel().catch(() => {});
    }
  }
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // Bytes that are no UTF-8 are a TypeError.
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    throw new Problem(400, `Cannot read the request: its body is no JSON (${error.message})`, {
      code: "invalid_json",
    });
  }
}

function tooLarge(): Problem {
  return new Problem(413, `Cannot read the request: its body holds more than ${BODY_BYTES_MAX} bytes`, {
    code: "request_too_large",
  });
}
