// Forward, without a tensor of all scores: each workgroup takes 64 queries over
// the keys, 32 at a time, with a running greatest score and sum for each query
// (Dao et al., 2022, algorithm 1). Needs attention_layout.wgsl,
// attention_read_*.wgsl, attention_tile.wgsl and attention_yield.wgsl; or
// cached_attention_layout.wgsl, cached_attention_read_*.wgsl,
// cached_attention_chunk.wgsl and attention_tile.wgsl.

fn leftAt(which: u32, row: u32, d: u32) -> vec4f {
  return queryAt(row, d);
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

  var mixture: Mixture;
  var greatest = Rows(vec4f(HIDDEN), vec4f(HIDDEN));
  var sum: Rows; // over this invocation's own columns

  for (var first = 0u; first <= lastKey(work.past, firstRow + ROWS - 1u); first += COLUMNS) {
    var tile = products(0u, firstRow, first, local);
    var found = greatest;
    for (var j = 0u; j < 4u; j++) {
      let key = vec4u(first + local % 8u + 8u * j);
      tile.low[j] = select(vec4f(HIDDEN), tile.low[j] * SCALE, key <= lastLow);
      tile.high[j] = select(vec4f(HIDDEN), tile.high[j] * SCALE, key <= lastHigh);
      found.low = max(found.low, tile.low[j]);
      found.high = max(found.high, tile.high[j]);
    }
    found = greatestOf(found, local);
    let fade = Rows(exp(greatest.low - found.low), exp(greatest.high - found.high));
    greatest = found;
    sum.low *= fade.low;
    sum.high *= fade.high;
    for (var j = 0u; j < 4u; j++) {
      tile.low[j] = exp(tile.low[j] - greatest.low);
      tile.high[j] = exp(tile.high[j] - greatest.high);
      sum.low += tile.low[j];
      sum.high += tile.high[j];
    }
    for (var block = 0u; block < BLOCKS; block++) {
      mixture.low[block] = scaled(mixture.low[block], fade.low);
      mixture.high[block] = scaled(mixture.high[block], fade.high);
    }
    mix(&mixture, tile, 1u, first, firstOutput, local);
  }

  sum = sumOf(sum, local);
  for (var i = 0u; i < 4u; i++) {
    for (var block = 0u; block < BLOCKS; block++) {
      let d = firstOutput + block * 32u + local % 8u * 4u;
      write(mine + i, d, mixture.low[block][i] / sum.low[i]);
      write(mine + 4u + i, d, mixture.high[block][i] / sum.high[i]);
    }
    if (local % 8u == 0u && work.split == 0u) {
      if (mine + i < QUERY_ROWS) {
        keepLogSum(mine + i, greatest.low[i] + log(sum.low[i]));
      }
      if (mine + 4u + i < QUERY_ROWS) {
        keepLogSum(mine + 4u + i, greatest.high[i] + log(sum.high[i]));
      }
    }
  }
}

fn write(row: u32, d: u32, four: vec4f) {
  if (row >= QUERY_ROWS) { return; }
  for (var i = 0u; i < 4u; i++) {
    if (d + i < WIDTH) { y[queryPlace(row, d + i)] = Y(four[i]); }
  }
}
