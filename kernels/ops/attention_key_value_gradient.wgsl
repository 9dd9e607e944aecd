// Gradients by the keys and the values: each workgroup takes 64 keys over the
// queries that see them, 32 at a time, position by position and within one
// position head by head (Dao, 2023, algorithm 2; no sum is shared between
// workgroups, so no order is left to chance). Needs attention_layout.wgsl,
// attention_read_*.wgsl, attention_upstream_*.wgsl and attention_tile.wgsl.

@group(0) @binding(4) var<storage, read> logSumExp: array<LogSumExp>;
@group(0) @binding(5) var<storage, read> rowSums: array<f32>;
@group(0) @binding(6) var<storage, read_write> dk: array<ByKey>;
@group(0) @binding(7) var<storage, read_write> dv: array<ByValue>;

fn leftAt(which: u32, key: u32, d: u32) -> vec4f {
  if (which == 0u) { return keyAt(key, d); }
  return valueAt(key, d);
}

fn rightAt(which: u32, row: u32, d: u32) -> vec4f {
  if (which == 0u) { return queryAt(row, d); }
  return upstreamAt(row, d);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let work = workOf(group, groups);
  if (work.idle) { return; }
  let firstKey = (TILES - 1u - work.tile) * ROWS;
  let firstOutput = work.split * 32u * BLOCKS;
  let mine = firstKey + local / 8u * 8u;
  let low = vec4u(mine, mine + 1u, mine + 2u, mine + 3u);
  let high = low + 4u;

  var byKey: Mixture;
  var byValue: Mixture;
  let firstQuery = max(firstKey, KEYS - QUERIES) - (KEYS - QUERIES);
  for (var first = firstQuery * GROUP; first < QUERY_ROWS; first += COLUMNS) {
    var shares = products(0u, firstKey, first, local);
    var byScore = products(1u, firstKey, first, local);
    for (var j = 0u; j < 4u; j++) {
      let row = first + local % 8u + 8u * j;
      let place = rowPlace(min(row, QUERY_ROWS - 1u));
      let denominator = f32(logSumExp[place]);
      let rowSum = rowSums[place];
      let last = vec4u(select(0u, lastKey(work.past, row) + 1u, row < QUERY_ROWS));
      shares.low[j] = select(vec4f(), probabilities(shares.low[j], denominator), low < last);
      shares.high[j] = select(vec4f(), probabilities(shares.high[j], denominator), high < last);
      byScore.low[j] = shares.low[j] * (byScore.low[j] - rowSum) * SCALE;
      byScore.high[j] = shares.high[j] * (byScore.high[j] - rowSum) * SCALE;
    }
    mix(&byValue, shares, 1u, first, firstOutput, local);
    workgroupBarrier();
    mix(&byKey, byScore, 0u, first, firstOutput, local);
  }

  for (var i = 0u; i < 4u; i++) {
    for (var block = 0u; block < BLOCKS; block++) {
      let d = firstOutput + block * 32u + local % 8u * 4u;
      write(mine + i, d, byKey.low[block][i], byValue.low[block][i]);
      write(mine + 4u + i, d, byKey.high[block][i], byValue.high[block][i]);
    }
  }
}

/** No probability is above 1, however scores were rounded. */
fn probabilities(score: vec4f, denominator: f32) -> vec4f {
  return exp(min(score * SCALE - denominator, vec4f()));
}

fn write(key: u32, d: u32, byKey: vec4f, byValue: vec4f) {
  if (key >= KEYS) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (d + i < WIDTH) {
      dk[keyPlace(key, d + i)] = ByKey(byKey[i]);
      dv[keyPlace(key, d + i)] = ByValue(byValue[i]);
    }
  }
}
