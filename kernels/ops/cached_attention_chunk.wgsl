// What tiles of queries see of cached positions, and what they yield, for
// attention.wgsl. Needs cached_attention_layout.wgsl.

@group(0) @binding(7) var<storage, read_write> y: array<Y>;

/** Nobody asks for it. */
fn keepLogSum(row: u32, logSum: f32) {}

/** Positions before the first query; also noted for whoever reads them. */
fn pastOf(sequence: u32) -> u32 {
  let length = u32(lengths[min(sequence, BATCH - 1u)]);
  past = length;
  return length;
}
