// dlogits = (probabilities − one-hot target) · dloss, and 0 where the target is
// −1. One invocation makes one element.

@group(0) @binding(0) var<storage, read> probabilities: array<Probabilities>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read> dloss: array<DLoss>;
@group(0) @binding(3) var<storage, read_write> dlogits: array<DLogits>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  let token = targets[i / VOCABULARY];
  let expected = select(0.0, 1.0, token == i32(i % VOCABULARY));
  let slope = (f32(probabilities[i]) - expected) * f32(dloss[0]);
  dlogits[i] = DLogits(select(slope, 0.0, token < 0));
}
