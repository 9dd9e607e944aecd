/**
 * Which values the DHT of this node believes. The library checks a value with
 * its validator only, never with its selector, so an old signed record would
 * overwrite a newer one: here a value must also stand its ground against the
 * best one seen under its key.
 *
 * It does not know what the values mean: that is the caller's rules.
 */

import { DHT_RECORDS_MAX, DHT_VALUE_BYTES_MAX } from "../limits.ts";

/** What a value must be to be believed, and which of two is better. */
export interface RecordRules {
  /** Keys are `/<namespace>/…`. */
  readonly namespace: string;
  /** Throws with the reason if `value` must not stand under `key`. */
  validate(key: Uint8Array, value: Uint8Array): void;
  /** Index of the best of these valid values; ties go to the first. Never empty. */
  select(key: Uint8Array, values: readonly Uint8Array[]): number;
}

type Validate = (key: Uint8Array, value: Uint8Array) => void;
type Select = (key: Uint8Array, values: Uint8Array[]) => number;

/** Validators and selectors as kad-dht takes them. */
export function recordValidators(
  rules: RecordRules | undefined,
): { validators: Record<string, Validate>; selectors: Record<string, Select> } {
  if (rules === undefined) return { validators: {}, selectors: {} };
  const best = new Map<string, Uint8Array>();

  const validate: Validate = (key, value) => {
    if (value.byteLength > DHT_VALUE_BYTES_MAX) {
      throw new TypeError(
        `Cannot take a DHT value: ${value.byteLength} bytes, at most ${DHT_VALUE_BYTES_MAX}`,
      );
    }
    rules.validate(key, value);
    const name = new TextDecoder().decode(key);
    const known = best.get(name);
    if (known !== undefined && isValid(rules, key, known) && rules.select(key, [known, value]) === 0) {
      if (sameBytes(known, value)) return;
      throw new TypeError(`Cannot take a DHT value: a newer one is known under ${name}`);
    }
    best.delete(name);
    best.set(name, value.slice());
    for (const oldest of best.keys()) {
      if (best.size <= DHT_RECORDS_MAX) break;
      best.delete(oldest);
    }
  };

  return {
    validators: { [rules.namespace]: validate },
    selectors: { [rules.namespace]: (key, values) => rules.select(key, values) },
  };
}

/** A remembered value may have expired since; then it stands in nobody's way. */
function isValid(rules: RecordRules, key: Uint8Array, value: Uint8Array): boolean {
  try {
    rules.validate(key, value);
    return true;
  } catch {
    return false;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, at) => byte === b[at]);
}
