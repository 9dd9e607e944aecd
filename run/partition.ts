/**
 * Which layers each stage holds: given by the manifest's cut points, or chosen
 * so that the most expensive stage is as cheap as can be. It knows costs per
 * token, not machines.
 */

import type { Manifest, ModelConfig } from "./manifest.ts";

/** One slice of the model: layers `[firstLayer, endLayer)` and what lies at the ends. */
export interface Slice {
  /** From 0. */
  readonly index: number;
  /** Slices of the whole model. */
  readonly count: number;
  /** First layer of the slice, counted through the whole model. */
  readonly firstLayer: number;
  /** First layer that is no longer part of it. */
  readonly endLayer: number;
  /** Whether it embeds the token ids: the first one does. */
  readonly embedding: boolean;
  /** Whether it holds the final norm and the head: the last one does. */
  readonly head: boolean;
}

/** What of a manifest says how the model is cut. */
export type PartitionSource = Pick<Manifest, "model" | "stages" | "sequenceLength">;

/**
 * All slices in order. The same manifest gives the same slices everywhere.
 *
 * @throws {RangeError} if there are more stages than layers, or the cut points don't ascend.
 */
export function partition(source: PartitionSource): readonly Slice[] {
  const { layers } = source.model;
  const cuts = typeof source.stages === "number" ? cheapestCuts(source, source.stages) : source.stages;
  const starts = [0, ...cuts];
  return starts.map((firstLayer, index) => {
    const endLayer = starts[index + 1] ?? layers;
    if (!(Number.isInteger(firstLayer) && firstLayer < endLayer && endLayer <= layers)) {
      throw new RangeError(
        `Cannot cut ${layers} layers: stage ${index} would hold layers ${firstLayer} to ${endLayer - 1}`,
      );
    }
    return {
      index,
      count: starts.length,
      firstLayer,
      endLayer,
      embedding: index === 0,
      head: index === starts.length - 1,
    };
  });
}

/** The slice of one stage. @throws {RangeError} if the model has no such stage. */
export function sliceOf(source: PartitionSource, index: number): Slice {
  const slices = partition(source);
  const slice = slices[index];
  if (!slice) throw new RangeError(`Cannot take stage ${index}: the model has ${slices.length}`);
  return slice;
}

/**
 * Floating-point operations of one token's way forward through a slice; the
 * way back costs about twice as much. Norms and embedding are left out.
 */
export function stageFlopsPerToken(source: PartitionSource, slice: Slice): number {
  const layers = (slice.endLayer - slice.firstLayer) *
    layerFlopsPerToken(source.model, source.sequenceLength);
  return layers + (slice.head ? headFlopsPerToken(source.model) : 0);
}

/** Products with the seven matrices of a layer, and attention over half a sequence on average. */
function layerFlopsPerToken(model: ModelConfig, sequenceLength: number): number {
  const queryWidth = model.heads * model.headWidth;
  const keyValueWidth = model.keyValueHeads * model.headWidth;
  const matrices = 2 * model.width * (2 * queryWidth + 2 * keyValueWidth + 3 * model.hidden);
  const attention = 2 * queryWidth * (sequenceLength + 1);
  return matrices + attention;
}

function headFlopsPerToken(model: ModelConfig): number {
  return 2 * model.width * model.vocabulary;
}

/**
 * Layers cost the same, so only how many the last stage holds is to be chosen:
 * the others share the rest evenly, earlier stages taking what is left over.
 */
function cheapestCuts(source: PartitionSource, count: number): number[] {
  const { layers } = source.model;
  if (!Number.isInteger(count) || count < 1 || count > layers) {
    throw new RangeError(`Cannot cut ${layers} layers into ${count} stages`);
  }
  if (count === 1) return [];
  const others = count - 1;
  const perLayer = layerFlopsPerToken(source.model, source.sequenceLength);
  const head = headFlopsPerToken(source.model);

  let last = 1;
  let least = Infinity;
  for (let candidate = 1; candidate <= layers - others; candidate++) {
    const largestOther = Math.ceil((layers - candidate) / others);
    const cost = Math.max(largestOther * perLayer, candidate * perLayer + head);
    // On a tie the later candidate leaves less to the others.
    if (cost <= least) [last, least] = [candidate, cost];
  }

  const cuts: number[] = [];
  let layer = 0;
  for (let stage = 0; stage < others; stage++) {
    const rest = layers - last;
    layer += Math.floor(rest / others) + (stage < rest % others ? 1 : 0);
    cuts.push(layer);
  }
  return cuts;
}
