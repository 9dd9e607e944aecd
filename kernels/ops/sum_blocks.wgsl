// sum = the blocks added up, in their order. One invocation adds one element.

@group(0) @binding(0) var<storage, read> blocks: array<f32>;
@group(0) @binding(1) var<storage, read_write> sum: array<Sum>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  var total = 0.0;
  for (var block = 0u; block < BLOCKS; block++) {
    total += blocks[block * COUNT + i];
  }
  sum[i] = Sum(total);
}
