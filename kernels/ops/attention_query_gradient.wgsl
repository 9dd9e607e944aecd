// Gradient by the queries: each workgroup takes 64 of them over the keys that
// they see, 32 at a time, and computes their probabilities again (Dao, 2023,
// algorithm 2). Needs attention_layout.wgsl,
// attention_read_*.wgsl, attention_upstream_*.wgsl and attention_tile.wgsl.

@group(0) @binding(4) var<storage, read> logSumExp: array<LogSumExp>;
@group(0) @binding(5) var<storage, read> rowSums: array<f32>;
@group(0) @binding(6) var<storage, read_write> dq: array<ByQuery>;

fn leftAt(which: u32, row: u32, d: u32) -> vec4f {
  if (which == 0u) { return queryAt(row, d); }
  return upstreamAt(row, d);
}

fn rightAt(which: u32, key: u32, d: u32) -> vec4f {
  if (which == 0u) { return keyAt(key, d); }
  return valueAt(key, d);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let work = workOf(group, groups);
  if (work.idle) { return; }
  let firstRow = work.tile * ROWS;
  let firstOutput = work.split * 32u * BLOCKS;
  let mine = firstRow + local / 8u * 8u;
  let lastLow = lastKeys(work.past, mine);
  let lastHigh = lastKeys(work.past, mine + 4u);
  var denominator: Rows;
  var rowSum: Rows;
  for (var i = 0u; i < 4u; i++) {
    let low = rowPlace(min(mine + i, QUERY_ROWS - 1u));
    let high = rowPlace(min(mine + 4u + i, QUERY_ROWS - 1u));
    denominator.low[i] = f32(logSumExp[low]);
    denominator.high[i] = f32(logSumExp[high]);
    rowSum.low[i] = rowSums[low];
    rowSum.high[i] = rowSums[high];
  }

  var mixture: Mixture;
  for (var first = 0u; first <= lastKey(work.past, firstRow + ROWS - 1u); first += COLUMNS) {
    let scores = products(0u, firstRow, first, local);
    var byScore = products(1u, firstRow, first, local);
    for (var j = 0u; j < 4u; j++) {
      let key = vec4u(first + local % 8u + 8u * j);
      byScore.low[j] = slopes(scores.low[j], byScore.low[j], denominator.low, rowSum.low, key <= lastLow);
      byScore.high[j] = slopes(scores.high[j], byScore.high[j], denominator.high, rowSum.high, key <= lastHigh);
    }
    mix(&mixture, byScore, 0u, first, firstOutput, local);
  }

  for (var i = 0u; i < 4u; i++) {
    for (var block = 0u; block < BLOCKS; block++) {
      let d = firstOutput + block * 32u + local % 8u * 4u;
      write(mine + i, d, mixture.low[block][i]);
      write(mine + 4u + i, d, mixture.high[block][i]);
    }
  }
}

/** Slope by four rows' product with one key. No probability is above 1, however scores were rounded. */
fn slopes(score: vec4f, byShare: vec4f, denominator: vec4f, rowSum: vec4f, seen: vec4<bool>) -> vec4f {
  let share = exp(min(score * SCALE - denominator, vec4f()));
  return select(vec4f(), share * (byShare - rowSum) * SCALE, seen);
}

fn write(row: u32, d: u32, four: vec4f) {
  if (row >= QUERY_ROWS) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (d + i < WIDTH) { dq[queryPlace(row, d + i)] = ByQuery(four[i]); }
  }
}
