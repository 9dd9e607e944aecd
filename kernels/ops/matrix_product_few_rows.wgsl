// A matrix product whose left operand has a few rows, as when tokens are generated one by one: the right
// operand, both along k, is read once and reading it is all that takes time. 32 invocations go along one of
// its rows and add up what they have in a fixed order; a workgroup takes four rows.

// [row of the left operand][row of the right operand][invocation]
var<workgroup> shares: array<f32, ROWS * 128u>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) invocation: u32,
) {
  let n = (group.y * groups.x + group.x) * 4u;
  if (n >= COLUMNS) {
    return;
  }
  let lane = invocation % 32u;

  var sums: array<f32, ROWS>;
  for (var k = lane * 4u; k < K; k += 128u) {
    let r = readRight(n + invocation / 32u, k);
    for (var m = 0u; m < ROWS; m++) {
      sums[m] += dot(readLeft(m, k), r);
    }
  }
  for (var m = 0u; m < ROWS; m++) {
    shares[m * 128u + invocation] = sums[m];
  }
  for (var half = 16u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      for (var m = 0u; m < ROWS; m++) {
        shares[m * 128u + invocation] += shares[m * 128u + invocation + half];
      }
    }
  }
  workgroupBarrier();
  if (invocation < ROWS) {
    let first = invocation * 128u;
    let four = vec4<f32>(shares[first], shares[first + 32u], shares[first + 64u], shares[first + 96u]);
    writeOutput(0u, invocation, n, four);
  }
}
