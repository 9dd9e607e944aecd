import assert from "node:assert/strict";
import { ropeFrequencies, turnWords } from "./rope_frequencies.ts";

const close = (found: number, expected: number) =>
  assert.ok(Math.abs(found - expected) <= 1e-12 * Math.abs(expected), `${found}, expected ${expected}`);

Deno.test("frequencies fall from one turn a radian to one in theta", () => {
  const frequencies = ropeFrequencies(8, 10_000);
  [1, 0.1, 0.01, 0.001].forEach((expected, i) => close(frequencies[i], expected));
});

Deno.test("a linear scaling slows every frequency", () => {
  const frequencies = ropeFrequencies(8, 10_000, { kind: "linear", factor: 4 });
  [0.25, 0.025, 0.0025, 0.00025].forEach((expected, i) => close(frequencies[i], expected));
});

Deno.test("Llama 3's scaling leaves high frequencies, slows low ones, and mixes between", () => {
  const scaling = {
    kind: "llama3",
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalLength: 8192,
  } as const;
  const plain = ropeFrequencies(128, 500_000);
  const found = ropeFrequencies(128, 500_000, scaling);
  let mixed = 0;
  plain.forEach((frequency, i) => {
    const wavelength = 2 * Math.PI / frequency;
    if (wavelength < 8192 / 4) close(found[i], frequency);
    else if (wavelength > 8192) close(found[i], frequency / 8);
    else {
      mixed++;
      assert.ok(found[i] < frequency && found[i] > frequency / 8);
      // As the model's makers write it.
      const smooth = (8192 / wavelength - 1) / (4 - 1);
      close(found[i], (1 - smooth) * frequency / 8 + smooth * frequency);
    }
  });
  assert.ok(mixed > 0);
});

Deno.test("frequencies in whole turns keep what a float64 knows of them", () => {
  const frequencies = ropeFrequencies(16, 10_000);
  const words = turnWords(frequencies);
  frequencies.forEach((frequency, i) => {
    const turns = words[2 * i] * 2 ** -32 + words[2 * i + 1] * 2 ** -64;
    close(turns * 2 * Math.PI, frequency);
  });
});
