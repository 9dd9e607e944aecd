// dgate = dy · up · σ · (1 + gate · (1 − σ)) and dup = dy · gate · σ.
// One invocation makes one element of each.

@group(0) @binding(0) var<storage, read> gate: array<Gate>;
@group(0) @binding(1) var<storage, read> up: array<Up>;
@group(0) @binding(2) var<storage, read> dy: array<DY>;
@group(0) @binding(3) var<storage, read_write> dgate: array<DGate>;
@group(0) @binding(4) var<storage, read_write> dup: array<DUp>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    let z = f32(gate[i]);
    let s = sigmoid(z);
    dgate[i] = DGate(f32(dy[i]) * f32(up[i]) * s.x * (1.0 + z * s.y));
    dup[i] = DUp(f32(dy[i]) * z * s.x);
  }
}
