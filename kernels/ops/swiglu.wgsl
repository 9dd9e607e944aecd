// y = gate · σ(gate) · up. One invocation makes one element.

@group(0) @binding(0) var<storage, read> gate: array<Gate>;
@group(0) @binding(1) var<storage, read> up: array<Up>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    let z = f32(gate[i]);
    y[i] = Y(z * sigmoid(z).x * f32(up[i]));
  }
}
