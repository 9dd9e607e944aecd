// What each block of rows adds to the sum of all, in their order. One
// invocation adds one column of one block.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>; // [block, C]

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  let block = i / WIDTH;
  let column = i % WIDTH;
  let end = min((block + 1u) * BLOCK_ROWS, ROWS);
  var sum = 0.0;
  for (var row = block * BLOCK_ROWS; row < end; row++) {
    sum += f32(x[row * WIDTH + column]);
  }
  partial[i] = sum;
}
