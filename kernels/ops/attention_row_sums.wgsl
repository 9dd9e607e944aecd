// What the gradient of a softmax subtracts in each row: the sum over the width
// of dy · y, for every row of every head.

@group(0) @binding(0) var<storage, read> y: array<Y>;
@group(0) @binding(1) var<storage, read> dy: array<Upstream>;
@group(0) @binding(2) var<storage, read_write> rowSums: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = id.y * groups.x * 256u + id.x;
  if (at >= COUNT) { return; }
  let head = at / QUERIES % HEADS;
  let start = ((at / (QUERIES * HEADS) * QUERIES + at % QUERIES) * HEADS + head) * WIDTH;
  var sum = 0.0;
  for (var d = 0u; d < WIDTH; d++) { sum += f32(y[start + d]) * f32(dy[start + d]); }
  rowSums[at] = sum;
}
