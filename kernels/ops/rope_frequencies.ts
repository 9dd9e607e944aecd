/** How fast RoPE turns each pair of dimensions, also where a model was taught to reach further. */

/** How frequencies are changed; plain JSON. */
export type FrequencyScaling =
  | { readonly kind: "none" }
  /** Every frequency divided by `factor` (Chen et al., 2023). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Low frequencies divided by `factor`, high ones left, between them both mixed (Llama 3.1). */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    /** Wavelengths above `originalLength` ÷ this are low frequencies. */
    readonly lowFrequencyFactor: number;
    /** Wavelengths below `originalLength` ÷ this are high frequencies. */
    readonly highFrequencyFactor: number;
    /** Positions that the model was first taught. */
    readonly originalLength: number;
  };

/** Radians per position: θ^(−2i/D) for i in 0 … D/2−1, scaled. */
export function ropeFrequencies(
  headWidth: number,
  theta: number,
  scaling: FrequencyScaling = { kind: "none" },
): number[] {
  return Array.from(
    { length: headWidth / 2 },
    (_, i) => scaled(theta ** (-2 * i / headWidth), scaling),
  );
}

function scaled(frequency: number, scaling: FrequencyScaling): number {
  switch (scaling.kind) {
    case "none":
      return frequency;
    case "linear":
      return frequency / scaling.factor;
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalLength } = scaling;
      const turns = originalLength * frequency / (2 * Math.PI);
      const share = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return share * frequency + (1 - share) * frequency / factor;
    }
  }
}

/**
 * Frequencies in whole turns per position, as fractions of 64 bits: high and low word of each, one after
 * the other. A frequency is no more than a radian.
 */
export function turnWords(frequencies: readonly number[]): Uint32Array {
  return Uint32Array.from(frequencies.flatMap((frequency) => {
    const high = frequency / (2 * Math.PI) * 2 ** 32;
    return [Math.floor(high), (high % 1) * 2 ** 32];
  }));
}
