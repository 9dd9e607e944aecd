// One query over one part of the positions that it may see, a position for each
// invocation: the greatest score, and relative to it the sum of the weights and
// of the weighed values. Needs cached_attention_layout.wgsl,
// cached_attention_read_*.wgsl and reduce.wgsl.
//
// PARTS: of the positions of one query. THREADS: positions of a part.

/** `[N, HEADS, PARTS, WIDTH + 2]`: values, then the greatest score and the sum. */
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

/** Invocations that share a position's value out, four elements each; so many positions are added at once. */
const QUARTERS = (WIDTH + 3u) / 4u;
const LANES = THREADS / QUARTERS;

var<workgroup> query: array<vec4f, QUARTERS>;
var<workgroup> weights: array<f32, THREADS>;
var<workgroup> mixtures: array<vec4f, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.y * groups.x + group.x;
  let part = id % PARTS;
  let head = id / PARTS % HEADS;
  let place = id / PARTS / HEADS; // of the new position among those of all sequences
  if (place >= BATCH * QUERIES) { return; }
  let length = u32(lengths[place / QUERIES]);
  batch = place / QUERIES;
  keyHead = head / GROUP;
  past = length;
  let row = place % QUERIES * GROUP + head % GROUP;

  let first = part * THREADS;
  let seen = length + place % QUERIES + 1u;
  let out = id * (WIDTH + 2u);
  if (first >= seen) {
    if (local == 0u) {
      parts[out + WIDTH] = HIDDEN;
      parts[out + WIDTH + 1u] = 0.0;
    }
    for (var d = local; d < WIDTH; d += THREADS) { parts[out + d] = 0.0; }
    return;
  }
  let count = min(seen - first, THREADS);

  if (local < QUARTERS) { query[local] = queryAt(row, 4u * local) * SCALE; }
  workgroupBarrier();
  var score = HIDDEN;
  if (local < count) {
    var sum: vec4f;
    for (var i = 0u; i < QUARTERS; i++) { sum += query[i] * keyAt(first + local, 4u * i); }
    score = sum.x + sum.y + sum.z + sum.w;
  }
  let greatest = greatestOfGroup(local, score);
  let weight = select(0.0, exp(score - greatest), local < count);
  weights[local] = weight;
  let total = sumOfGroup(local, weight);

  let quarter = local % QUARTERS;
  var mixture: vec4f;
  if (local / QUARTERS < LANES) {
    for (var i = local / QUARTERS; i < count; i += LANES) {
      mixture += weights[i] * valueAt(first + i, 4u * quarter);
    }
  }
  mixtures[local] = mixture;
  workgroupBarrier();
  if (local < QUARTERS) {
    var whole: vec4f;
    for (var i = 0u; i < LANES; i++) { whole += mixtures[i * QUARTERS + local]; }
    for (var i = 0u; i < 4u && 4u * local + i < WIDTH; i++) { parts[out + 4u * local + i] = whole[i]; }
  }
  if (local == 0u) {
    parts[out + WIDTH] = greatest;
    parts[out + WIDTH + 1u] = total;
  }
}
