// sum = left + right. One invocation adds one element.

@group(0) @binding(0) var<storage, read> left: array<Left>;
@group(0) @binding(1) var<storage, read> right: array<Right>;
@group(0) @binding(2) var<storage, read_write> sum: array<Sum>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    sum[i] = Sum(f32(left[i]) + f32(right[i]));
  }
}
