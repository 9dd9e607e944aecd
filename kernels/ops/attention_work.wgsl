// How tiles of rows are shared out over workgroups, and what each row sees.
// Needs attention_layout.wgsl or cached_attention_layout.wgsl, and `pastOf`.
//
// Sizes: BATCH, QUERY_ROWS, and TILES for each key head of each sequence.
// Constants: KEY_HEADS, GROUP, and SPLITS of each tile.

/** The last key that a row sees. Rows past the end see what the last one does. */
fn lastKey(before: u32, row: u32) -> u32 {
  return before + min(row, QUERY_ROWS - 1u) / GROUP;
}

fn lastKeys(before: u32, row: u32) -> vec4u {
  return vec4u(lastKey(before, row), lastKey(before, row + 1u), lastKey(before, row + 2u), lastKey(before, row + 3u));
}

/** What a workgroup works on. */
struct Work {
  tile: u32,
  split: u32,
  /** Keys before the first query. */
  past: u32,
  /** Whether there is nothing to do. */
  idle: bool,
}

/** Workgroups with most keys to see come first, so that no long one is left over at the end. */
fn workOf(group: vec3u, groups: vec3u) -> Work {
  let id = group.y * groups.x + group.x;
  let head = id / (TILES * SPLITS);
  let sequence = head / KEY_HEADS;
  let before = pastOf(sequence);
  batch = sequence;
  keyHead = head % KEY_HEADS;
  // What is private counts as different in each invocation, and no barrier may depend on that.
  return Work(TILES - 1u - id % TILES, id / TILES % SPLITS, before, sequence >= BATCH);
}
