// sums = the sum of ROWS rows, in their order. One invocation adds one column.

@group(0) @binding(0) var<storage, read> rows: array<Rows>;
@group(0) @binding(1) var<storage, read_write> sums: array<Sums>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  var sum = 0.0;
  for (var row = 0u; row < ROWS; row++) {
    sum += f32(rows[row * COUNT + i]);
  }
  sums[i] = Sums(sum);
}
