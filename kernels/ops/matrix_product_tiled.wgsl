// A matrix product for GPUs. A workgroup of 16 × 16 invocations computes a square tile of the output; each
// slice of the operands, TILE_K deep, is read once into workgroup memory and used TILE times from there.
// While a slice is multiplied the next one is on its way into registers: one block of 4 × 4 an invocation.
// An invocation's share of the tile is one block of 4 × 4, or four that lie 64 apart (so that neighbours
// read neighbouring memory).

const TILE_QUADS = TILE / 4u;
const TILE_K_QUADS = TILE_K / 4u;
const BAND = 8u;
const BLOCKS = TILE_QUADS * TILE_K_QUADS;

// [k][m / 4] and [k][n / 4]
var<workgroup> leftSlice: array<vec4<f32>, TILE_K * TILE_QUADS>;
var<workgroup> rightSlice: array<vec4<f32>, TILE_K * TILE_QUADS>;

// Where in a slice a block lies, in quads (k, m or n): neighbours in memory go to neighbours among the invocations.
fn placeOf(block: u32, alongK: bool) -> vec2<u32> {
  if (alongK) {
    return vec2<u32>(block % TILE_K_QUADS, block / TILE_K_QUADS);
  }
  return vec2<u32>(block / TILE_QUADS, block % TILE_QUADS);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) invocation: u32,
) {
  let tile = group.y * groups.x + group.x;
  if (tile >= TILES) {
    return;
  }
  // Workgroups that run at the same time share rows and columns of the operands: tiles are taken in bands.
  let band = tile / (BAND * TILES_N);
  let bandRows = min(BAND, TILES_M - band * BAND);
  let inBand = tile % (BAND * TILES_N);
  let m0 = (band * BAND + inBand % bandRows) * TILE;
  let n0 = inBand / bandRows * TILE;
  let part = group.z;
  let begin = part * PART_K;
  let end = min(K, begin + PART_K);

  // The first half of the invocations fetches the left operand, the second half the right one.
  let fetchesLeft = invocation < BLOCKS;
  let leftPlace = placeOf(invocation, LEFT_ALONG_K);
  let rightPlace = placeOf(invocation - BLOCKS, RIGHT_ALONG_K);
  let y = invocation / 16u;
  let x = invocation % 16u;

  var sum00 = mat4x4<f32>();
  var sum01 = mat4x4<f32>();
  var sum10 = mat4x4<f32>();
  var sum11 = mat4x4<f32>();
  var fetched = mat4x4<f32>();
  if (fetchesLeft) {
    fetched = leftBlock(m0 + leftPlace.y * 4u, begin + leftPlace.x * 4u);
  } else {
    fetched = rightBlock(begin + rightPlace.x * 4u, n0 + rightPlace.y * 4u);
  }

  for (var k = begin; k < end; k += TILE_K) {
    workgroupBarrier();
    if (fetchesLeft) {
      let at = leftPlace.x * 4u * TILE_QUADS + leftPlace.y;
      leftSlice[at] = fetched[0];
      leftSlice[at + TILE_QUADS] = fetched[1];
      leftSlice[at + 2u * TILE_QUADS] = fetched[2];
      leftSlice[at + 3u * TILE_QUADS] = fetched[3];
    } else {
      let at = rightPlace.x * 4u * TILE_QUADS + rightPlace.y;
      rightSlice[at] = fetched[0];
      rightSlice[at + TILE_QUADS] = fetched[1];
      rightSlice[at + 2u * TILE_QUADS] = fetched[2];
      rightSlice[at + 3u * TILE_QUADS] = fetched[3];
    }
    workgroupBarrier();
    let next = k + TILE_K;
    if (next < end) {
      if (fetchesLeft) {
        fetched = leftBlock(m0 + leftPlace.y * 4u, next + leftPlace.x * 4u);
      } else {
        fetched = rightBlock(next + rightPlace.x * 4u, n0 + rightPlace.y * 4u);
      }
    }
    for (var j = 0u; j < TILE_K; j++) {
      let l0 = leftSlice[j * TILE_QUADS + y];
      let r0 = rightSlice[j * TILE_QUADS + x];
      sum00 = addOuter(sum00, l0, r0);
      if (TILE == 128u) {
        let l1 = leftSlice[j * TILE_QUADS + 16u + y];
        let r1 = rightSlice[j * TILE_QUADS + 16u + x];
        sum01 = addOuter(sum01, l0, r1);
        sum10 = addOuter(sum10, l1, r0);
        sum11 = addOuter(sum11, l1, r1);
      }
    }
  }

  let m = m0 + y * 4u;
  let n = n0 + x * 4u;
  writeBlock(part, m, n, sum00);
  if (TILE == 128u) {
    writeBlock(part, m, n + 64u, sum01);
    writeBlock(part, m + 64u, n, sum10);
    writeBlock(part, m + 64u, n + 64u, sum11);
  }
}
