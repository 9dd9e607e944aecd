// Forward for a handful of queries over many keys, as when text is generated:
// each workgroup takes one query, and its invocations share the keys out, then
// the width. Keys come BLOCK at a time, with a running greatest score and sum.
// Needs attention_layout.wgsl and attention_read_*.wgsl; a tile here is
// one row.

const INVOCATIONS = 256u;
const BLOCK = 4u * INVOCATIONS;

/** Invocations that share one key's values out, four of the width each; so many keys are added at once. */
const QUARTERS = (WIDTH + 3u) / 4u;
const LANES = INVOCATIONS / QUARTERS;

var<workgroup> query: array<vec4f, QUARTERS>;
var<workgroup> scores: array<f32, BLOCK>;
var<workgroup> parts: array<vec4f, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let work = workOf(group, groups);
  if (work.idle) { return; }
  let row = work.tile;
  let count = lastKey(work.past, row) + 1u;
  let quarter = local % QUARTERS;
  let lane = local / QUARTERS;
  if (local < QUARTERS) { query[local] = queryAt(row, 4u * local) * SCALE; }

  var greatest = HIDDEN;
  var sum = 0.0; // over this invocation's own keys
  var mixture: vec4f;
  for (var first = 0u; first < count; first += BLOCK) {
    let end = min(BLOCK, count - first);
    workgroupBarrier();
    var found = greatest;
    for (var i = local; i < end; i += INVOCATIONS) {
      scores[i] = score(first + i);
      found = max(found, scores[i]);
    }
    found = greatestOf(found, local);
    let fade = exp(greatest - found);
    greatest = found;
    sum *= fade;
    for (var i = local; i < end; i += INVOCATIONS) {
      scores[i] = exp(scores[i] - greatest);
      sum += scores[i];
    }
    workgroupBarrier();
    mixture *= fade;
    if (lane < LANES) {
      for (var i = lane; i < end; i += LANES) { mixture += scores[i] * valueAt(first + i, 4u * quarter); }
    }
  }

  sum = sumOf(sum, local);
  workgroupBarrier();
  parts[local] = mixture;
  workgroupBarrier();
  if (local < QUARTERS) {
    var total: vec4f;
    for (var i = 0u; i < LANES; i++) { total += parts[i * QUARTERS + local]; }
    for (var i = 0u; i < 4u; i++) {
      if (4u * local + i < WIDTH) { y[queryPlace(row, 4u * local + i)] = Y(total[i] / sum); }
    }
  }
  if (local == 0u) { keepLogSum(row, greatest + log(sum)); }
}

fn score(key: u32) -> f32 {
  var sum: vec4f;
  for (var i = 0u; i < QUARTERS; i++) { sum += query[i] * keyAt(key, 4u * i); }
  return sum.x + sum.y + sum.z + sum.w;
}

fn greatestOf(mine: f32, local: u32) -> f32 {
  workgroupBarrier();
  parts[local].x = mine;
  for (var half = INVOCATIONS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { parts[local].x = max(parts[local].x, parts[local + half].x); }
  }
  workgroupBarrier();
  return parts[0].x;
}

fn sumOf(mine: f32, local: u32) -> f32 {
  workgroupBarrier();
  parts[local].x = mine;
  for (var half = INVOCATIONS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { parts[local].x += parts[local + half].x; }
  }
  workgroupBarrier();
  return parts[0].x;
}
