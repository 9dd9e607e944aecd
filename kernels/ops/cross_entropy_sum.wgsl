// loss = Σ losses, and count = how many targets are counted. One workgroup
// takes all ROWS of them.

@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> loss: array<Loss>;
@group(0) @binding(3) var<storage, read_write> count: array<Count>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) own: u32) {
  var sum = 0.0;
  var counted = 0u;
  for (var row = own; row < ROWS; row += THREADS) {
    sum += losses[row];
    counted += u32(targets[row] >= 0);
  }
  let total = sumOfGroup(own, sum);
  // Whole numbers are exact up to 2²⁴.
  let all = sumOfGroup(own, f32(counted));
  if (own == 0u) {
    loss[0] = Loss(total);
    count[0] = Count(all);
  }
}
