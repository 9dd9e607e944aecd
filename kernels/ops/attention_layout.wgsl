// Where the tensors of attention hold what. The query heads that share a key
// head are one list of rows, position by position: row t · GROUP + g is
// position t of query head keyHead · GROUP + g.
//
// Sizes: BATCH, QUERIES (T), QUERY_ROWS (T · GROUP), KEYS (S). Constants:
// KEY_HEADS, GROUP, WIDTH.

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

/** Keys before the first query. */
fn pastOf(sequence: u32) -> u32 {
  return KEYS - QUERIES;
}
