// y = x · r · gain with r = 1 / √(mean(x²) + ε). One workgroup takes one row.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> gain: array<Gain>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<storage, read_write> inverse: array<Inverse>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) own: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= ROWS) {
    return;
  }
  let start = row * WIDTH;
  var squares = 0.0;
  for (var c = own; c < WIDTH; c += THREADS) {
    let element = f32(x[start + c]);
    squares += element * element;
  }
  let r = inverseSqrt(sumOfGroup(own, squares) / f32(WIDTH) + EPSILON);
  for (var c = own; c < WIDTH; c += THREADS) {
    y[start + c] = Y(f32(x[start + c]) * r * f32(gain[c]));
  }
  if (own == 0u) {
    inverse[row] = Inverse(r);
  }
}
