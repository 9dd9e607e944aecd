// An operand of a matrix product, put into an image for matrix_product_packed.wgsl: texel row · PITCH + k / 4
// holds elements k … k + 3 of a row, zeros beyond K. One invocation stores one texel.

@group(0) @binding(0) var<storage, read> operand: array<Operand>;
@group(0) @binding(1) var packed: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  // Neighbours among the invocations load neighbours in memory.
  let quads = COUNT / ROWS;
  let row = select(i % ROWS, i / quads, ALONG_K);
  let quad = select(i / ROWS, i % quads, ALONG_K);
  var four = vec4<f32>();
  for (var j = 0u; j < 4u; j++) {
    let k = quad * 4u + j;
    if (k < K) {
      four[j] = f32(operand[select(k * ROWS + row, row * K + k, ALONG_K)]);
    }
  }
  let texel = row * PITCH + quad;
  textureStore(packed, vec2<u32>(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH), four);
}
