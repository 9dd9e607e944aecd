// A matrix, put into an image: texel row · PITCH + c / 4 holds elements c … c + 3 of a row, zeros beyond
// LENGTH. One invocation stores one texel.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(2) @binding(0) var packed: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  // Neighbours among the invocations load neighbours in memory.
  let quads = COUNT / ROWS;
  let row = select(i % ROWS, i / quads, ALONG_ROW);
  let quad = select(i / ROWS, i % quads, ALONG_ROW);
  var four = vec4<f32>();
  for (var j = 0u; j < 4u; j++) {
    let c = quad * 4u + j;
    if (c < LENGTH) {
      four[j] = f32(x[select(c * ROWS + row, row * LENGTH + c, ALONG_ROW)]);
    }
  }
  let texel = row * PITCH + quad;
  textureStore(packed, vec2<u32>(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH), four);
}
