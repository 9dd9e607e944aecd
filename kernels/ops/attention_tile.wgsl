// What the tiled kernels of attention share. A workgroup of 64 invocations owns
// 64 rows and walks over columns, 32 at a time; which of queries and keys are
// the rows is the including file's choice. Products of all its rows with all
// the columns lie in registers, 8 rows by 4 columns in each invocation: rows
// 8 · (local / 8) and on, columns local % 8 + 8 j.
//
// The including file says what the factors are, four along the width from d on, a multiple of 4:
//   fn leftAt(which: u32, row: u32, d: u32) -> vec4f      0 outside
//   fn rightAt(which: u32, column: u32, d: u32) -> vec4f  0 outside
//
// Where a factor is read from images (IMAGES), that costs less than workgroup memory does, which then holds
// only what invocations have to tell each other.
//
// WIDTH: of a head. BLOCKS: output columns of this workgroup, in 32s.
// CHUNK: how many of the 32 columns are held whole at once.

const ROWS = 64u;
const COLUMNS = 32u;
const INVOCATIONS = 64u;

/** Of a head's width, at once. */
const DEPTH = 16u;

// One vector more in each line than it holds, so that neighbours write to different banks.
const LEFT_LINE = ROWS / 4u + 1u;
const RIGHT_LINE = COLUMNS / 4u + 1u;

/** `[DEPTH, ROWS / 4]`, four rows in a vector; or `[CHUNK, 8 · BLOCKS]`, four of the width in a vector. */
var<workgroup> left: array<vec4f, DEPTH * LEFT_LINE>;

/** `[DEPTH, 8]`, columns c, c + 8, c + 16 and c + 24 in a vector; or `[8, ROWS / 4]`, for `greatestOf` and `sumOf`. */
var<workgroup> right: array<vec4f, DEPTH * RIGHT_LINE>;

/** `[COLUMNS, ROWS / 4]`: what `mix` multiplies the columns by. */
var<workgroup> shares: array<vec4f, COLUMNS * LEFT_LINE>;

/** 8 rows by 4 columns: a vector holds four rows of one column. */
struct Tile {
  low: mat4x4f,
  high: mat4x4f,
}

/** 8 rows by 4 · 8 · BLOCKS outputs: a vector holds four outputs of one row. */
struct Mixture {
  low: array<mat4x4f, BLOCKS>,
  high: array<mat4x4f, BLOCKS>,
}

/** Column c is x · y[c]. */
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

/** Column c is m[c] · y[c]. */
fn scaled(m: mat4x4f, y: vec4f) -> mat4x4f {
  return mat4x4f(m[0] * y.x, m[1] * y.y, m[2] * y.z, m[3] * y.w);
}

/** Sums over the width of leftAt(which, row, d) · rightAt(which, column, d). */
fn products(which: u32, firstRow: u32, firstColumn: u32, local: u32) -> Tile {
  let row = local / 8u;
  let column = local % 8u;
  var tile: Tile;
  if (IMAGES) {
    for (var d = 0u; d < WIDTH; d += 4u) {
      let low = fourRows(which, firstRow + 8u * row, d);
      let high = fourRows(which, firstRow + 8u * row + 4u, d);
      let first = firstColumn + column;
      let y = transpose(mat4x4f(
        rightAt(which, first, d),
        rightAt(which, first + 8u, d),
        rightAt(which, first + 16u, d),
        rightAt(which, first + 24u, d),
      ));
      tile.low += outer(low[0], y[0]);
      tile.low += outer(low[1], y[1]);
      tile.low += outer(low[2], y[2]);
      tile.low += outer(low[3], y[3]);
      tile.high += outer(high[0], y[0]);
      tile.high += outer(high[1], y[1]);
      tile.high += outer(high[2], y[2]);
      tile.high += outer(high[3], y[3]);
    }
    return tile;
  }
  for (var start = 0u; start < WIDTH; start += DEPTH) {
    workgroupBarrier();
    // Each invocation fetches a block of 4 × 4 of the left factor, and each of the first half one of the right.
    let d = local % (DEPTH / 4u) * 4u;
    let line = local / (DEPTH / 4u);
    var block: mat4x4f;
    for (var j = 0u; j < 4u; j++) { block[j] = leftAt(which, firstRow + 4u * line + j, start + d); }
    block = transpose(block);
    for (var j = 0u; j < 4u; j++) { left[(d + j) * LEFT_LINE + line] = block[j]; }
    if (line < 8u) {
      for (var j = 0u; j < 4u; j++) { block[j] = rightAt(which, firstColumn + line + 8u * j, start + d); }
      block = transpose(block);
      for (var j = 0u; j < 4u; j++) { right[(d + j) * RIGHT_LINE + line] = block[j]; }
    }
    workgroupBarrier();
    for (var i = 0u; i < min(DEPTH, WIDTH - start); i++) {
      let y = right[i * RIGHT_LINE + column];
      tile.low += outer(left[i * LEFT_LINE + 2u * row], y);
      tile.high += outer(left[i * LEFT_LINE + 2u * row + 1u], y);
    }
  }
  return tile;
}

/** Column i is element d + i of four rows. */
fn fourRows(which: u32, row: u32, d: u32) -> mat4x4f {
  return transpose(mat4x4f(
    leftAt(which, row, d),
    leftAt(which, row + 1u, d),
    leftAt(which, row + 2u, d),
    leftAt(which, row + 3u, d),
  ));
}

/** Adds to every row the sum over 32 columns of tile · rightAt(which, column, d), for d from `firstOutput` on. */
fn mix(mixture: ptr<function, Mixture>, tile: Tile, which: u32, firstColumn: u32, firstOutput: u32, local: u32) {
  let row = local / 8u;
  let column = local % 8u;
  for (var j = 0u; j < 4u; j++) {
    shares[(column + 8u * j) * LEFT_LINE + 2u * row] = tile.low[j];
    shares[(column + 8u * j) * LEFT_LINE + 2u * row + 1u] = tile.high[j];
  }
  if (IMAGES) {
    workgroupBarrier();
    for (var i = 0u; i < COLUMNS; i++) {
      let low = shares[i * LEFT_LINE + 2u * row];
      let high = shares[i * LEFT_LINE + 2u * row + 1u];
      for (var block = 0u; block < BLOCKS; block++) {
        let x = rightAt(which, firstColumn + i, firstOutput + block * 32u + column * 4u);
        (*mixture).low[block] += outer(x, low);
        (*mixture).high[block] += outer(x, high);
      }
    }
    workgroupBarrier();
    return;
  }
  for (var start = 0u; start < COLUMNS; start += CHUNK) {
    workgroupBarrier();
    for (var i = local; i < CHUNK * 8u * BLOCKS; i += INVOCATIONS) {
      let at = firstColumn + start + i / (8u * BLOCKS);
      let d = firstOutput + i % (8u * BLOCKS) * 4u;
      left[i] = rightAt(which, at, d);
    }
    workgroupBarrier();
    for (var i = 0u; i < CHUNK; i++) {
      let low = shares[(start + i) * LEFT_LINE + 2u * row];
      let high = shares[(start + i) * LEFT_LINE + 2u * row + 1u];
      for (var block = 0u; block < BLOCKS; block++) {
        let x = left[i * 8u * BLOCKS + block * 8u + column];
        (*mixture).low[block] += outer(x, low);
        (*mixture).high[block] += outer(x, high);
      }
    }
  }
}

/** Eight numbers, for the eight rows of an invocation. */
struct Rows {
  low: vec4f,
  high: vec4f,
}

/** The greatest that the eight invocations of each row hold. */
fn greatestOf(mine: Rows, local: u32) -> Rows {
  share(mine, local);
  var greatest = mine;
  for (var i = 0u; i < 8u; i++) {
    greatest.low = max(greatest.low, right[i * LEFT_LINE + local / 8u * 2u]);
    greatest.high = max(greatest.high, right[i * LEFT_LINE + local / 8u * 2u + 1u]);
  }
  return greatest;
}

/** The sum of what the eight invocations of each row hold, in a fixed order. */
fn sumOf(mine: Rows, local: u32) -> Rows {
  share(mine, local);
  var sum: Rows;
  for (var i = 0u; i < 8u; i++) {
    sum.low += right[i * LEFT_LINE + local / 8u * 2u];
    sum.high += right[i * LEFT_LINE + local / 8u * 2u + 1u];
  }
  return sum;
}

fn share(mine: Rows, local: u32) {
  workgroupBarrier();
  right[local % 8u * LEFT_LINE + local / 8u * 2u] = mine.low;
  right[local % 8u * LEFT_LINE + local / 8u * 2u + 1u] = mine.high;
  workgroupBarrier();
}
