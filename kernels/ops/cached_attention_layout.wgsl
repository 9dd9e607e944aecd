// Where the tensors of cached attention hold what. A sequence's positions are
// counted from its first: those of the past lie in the pool, in the blocks that
// `blocks` names, and the new ones follow. The query heads that share a key head
// are one list of rows, position by position: row t · GROUP + g is new position
// t of query head keyHead · GROUP + g.
//
// Sizes: BATCH, QUERIES (T), QUERY_ROWS (T · GROUP) and NAMED_BLOCKS (S, those named
// for each sequence). Constants: KEY_HEADS, GROUP, WIDTH, and BLOCK_POSITIONS (L, positions
// of a block).

@group(0) @binding(5) var<storage, read> blocks: array<i32>;
@group(0) @binding(6) var<storage, read> lengths: array<i32>;

const HEADS = KEY_HEADS * GROUP;

/** Score of a position that is not seen: finite, as compilers may assume, and below all others. */
const HIDDEN = -1e30;

/** Of the workgroup. */
var<private> batch: u32;
var<private> keyHead: u32;
/** Positions of the sequence that are past. */
var<private> past: u32;

/** Of an element of `q` or `y`. */
fn queryPlace(row: u32, d: u32) -> u32 {
  return ((batch * QUERIES + row / GROUP) * HEADS + keyHead * GROUP + row % GROUP) * WIDTH + d;
}

/** Of an element of the pools, at a past position. */
fn pastPlace(position: u32, d: u32) -> u32 {
  let block = u32(blocks[batch * NAMED_BLOCKS + position / BLOCK_POSITIONS]);
  return ((block * KEY_HEADS + keyHead) * BLOCK_POSITIONS + position % BLOCK_POSITIONS) * WIDTH + d;
}

/** Of an element of `k` or `v`, at a new position. */
fn newPlace(position: u32, d: u32) -> u32 {
  return ((batch * QUERIES + position - past) * KEY_HEADS + keyHead) * WIDTH + d;
}
