// The second pass of a product whose sums were taken in parts: adds the parts up, in their order.

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<Output>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  var sum = 0f;
  for (var part = 0u; part < PARTS; part++) {
    sum += parts[part * COUNT + i];
  }
  output[i] = Output(sum);
}
