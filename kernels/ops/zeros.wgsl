// zeros = 0. One invocation clears one element.

@group(0) @binding(0) var<storage, read_write> zeros: array<Zeros>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    zeros[i] = Zeros(0);
  }
}
