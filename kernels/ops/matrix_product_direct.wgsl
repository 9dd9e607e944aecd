// A matrix product for adapters that compute on the processor. They have no workgroup memory that is nearer
// than any other, and a barrier costs them more than a load; what counts is what a load costs, which is least
// from an image, and how much is computed from it. Each invocation computes 16 × 8 elements alone, and names
// every sum: what it indexes it does not keep in registers.

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
  let m = tile / TILES_N * 16u;
  let n = tile % TILES_N * 8u;
  let part = group.z;
  let begin = part * PART_K;
  let end = min(K, begin + PART_K);

  var sum00 = mat4x4<f32>();
  var sum01 = mat4x4<f32>();
  var sum10 = mat4x4<f32>();
  var sum11 = mat4x4<f32>();
  var sum20 = mat4x4<f32>();
  var sum21 = mat4x4<f32>();
  var sum30 = mat4x4<f32>();
  var sum31 = mat4x4<f32>();
  for (var k = begin; k < end; k += 4u) {
    let r0 = rightBlock(k, n);
    let r1 = rightBlock(k, n + 4u);
    let l0 = leftBlock(m + 0u, k);
    sum00 = addProduct(sum00, l0, r0);
    sum01 = addProduct(sum01, l0, r1);
    let l1 = leftBlock(m + 4u, k);
    sum10 = addProduct(sum10, l1, r0);
    sum11 = addProduct(sum11, l1, r1);
    let l2 = leftBlock(m + 8u, k);
    sum20 = addProduct(sum20, l2, r0);
    sum21 = addProduct(sum21, l2, r1);
    let l3 = leftBlock(m + 12u, k);
    sum30 = addProduct(sum30, l3, r0);
    sum31 = addProduct(sum31, l3, r1);
  }
  writeBlock(part, m + 0u, n + 0u, sum00);
  writeBlock(part, m + 0u, n + 4u, sum01);
  writeBlock(part, m + 4u, n + 0u, sum10);
  writeBlock(part, m + 4u, n + 4u, sum11);
  writeBlock(part, m + 8u, n + 0u, sum20);
  writeBlock(part, m + 8u, n + 4u, sum21);
  writeBlock(part, m + 12u, n + 0u, sum30);
  writeBlock(part, m + 12u, n + 4u, sum31);
}

fn addProduct(sum: mat4x4<f32>, l: mat4x4<f32>, r: mat4x4<f32>) -> mat4x4<f32> {
  return addOuter(addOuter(addOuter(addOuter(sum, l[0], r[0]), l[1], r[1]), l[2], r[2]), l[3], r[3]);
}
