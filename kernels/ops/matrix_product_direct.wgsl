// A matrix product for adapters that compute on the CPU. They have no workgroup memory that is nearer than
// any other, and a barrier costs them more than a read; what counts is how much an invocation does with what
// it has read. Each computes TILE_M × TILE_N elements, on its own, from what it reads in blocks of 4 × 4.

const M_BLOCKS = TILE_M / 4u;
const N_BLOCKS = TILE_N / 4u;

@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) invocation: u32,
) {
  let tile = (group.y * groups.x + group.x) * 8u + invocation;
  if (tile >= TILES) {
    return;
  }
  let m = tile / TILES_N * TILE_M;
  let n = tile % TILES_N * TILE_N;
  let part = group.z;
  let begin = part * PART_K;
  let end = min(K, begin + PART_K);

  var sums: array<mat4x4<f32>, M_BLOCKS * N_BLOCKS>;
  for (var k = begin; k < end; k += 4u) {
    var r: array<mat4x4<f32>, N_BLOCKS>;
    for (var j = 0u; j < N_BLOCKS; j++) {
      r[j] = rightBlock(k, n + j * 4u);
    }
    for (var i = 0u; i < M_BLOCKS; i++) {
      let l = leftBlock(m + i * 4u, k);
      for (var j = 0u; j < N_BLOCKS; j++) {
        var sum = sums[i * N_BLOCKS + j];
        sum = addOuter(sum, l[0], r[j][0]);
        sum = addOuter(sum, l[1], r[j][1]);
        sum = addOuter(sum, l[2], r[j][2]);
        sum = addOuter(sum, l[3], r[j][3]);
        sums[i * N_BLOCKS + j] = sum;
      }
    }
  }
  for (var i = 0u; i < M_BLOCKS; i++) {
    for (var j = 0u; j < N_BLOCKS; j++) {
      writeBlock(part, m + i * 4u, n + j * 4u, sums[i * N_BLOCKS + j]);
    }
  }
}
