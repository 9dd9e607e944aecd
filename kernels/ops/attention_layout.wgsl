// Where the tensors of attention hold what. The query heads that share a key
// head are one list of rows, position by position: row t · GROUP + g is
// position t of query head keyHead · GROUP + g.
//
// Sizes: BATCH, QUERIES (T), QUERY_ROWS (T · GROUP), KEYS (S), and TILES for each
// key head. Constants: KEY_HEADS, GROUP, WIDTH, and SPLITS of each tile.

const HEADS = KEY_HEADS * GROUP;

/** Score of a key that is not seen: finite, as compilers may assume, and below all others. */
const HIDDEN = -1e30;

/** Of the workgroup, as `workOf` finds them. */
var<private> batch: u32;
var<private> keyHead: u32;

/** Of an element of `q`, `y` or their gradients. */
fn queryPlace(row: u32, d: u32) -> u32 {
  return ((batch * QUERIES + row / GROUP) * HEADS + keyHead * GROUP + row % GROUP) * WIDTH + d;
}

/** Of an element of `k`, `v` or their gradients. */
fn keyPlace(key: u32, d: u32) -> u32 {
  return ((batch * KEYS + key) * KEY_HEADS + keyHead) * WIDTH + d;
}

/** Of a number kept for each query. */
fn rowPlace(row: u32) -> u32 {
  return (batch * HEADS + keyHead * GROUP + row % GROUP) * QUERIES + row / GROUP;
}

/** The last key that a row sees. Rows past the end see what the last one does. */
fn lastKey(past: u32, row: u32) -> u32 {
  return past + min(row, QUERY_ROWS - 1u) / GROUP;
}

fn lastKeys(past: u32, row: u32) -> vec4u {
  return vec4u(lastKey(past, row), lastKey(past, row + 1u), lastKey(past, row + 2u), lastKey(past, row + 3u));
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
  batch = sequence;
  keyHead = head % KEY_HEADS;
  // What is private counts as different in each invocation, and no barrier may depend on that.
  return Work(TILES - 1u - id % TILES, id / TILES % SPLITS, KEYS - QUERIES, sequence >= BATCH);
}
