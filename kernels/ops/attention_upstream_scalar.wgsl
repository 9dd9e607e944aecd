// What the gradients of attention read besides, as attention_read_scalar.wgsl does.
// Needs attention_layout.wgsl.

@group(0) @binding(3) var<storage, read> dy: array<Upstream>;

fn upstreamAt(row: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u; i++) {
    if (row < QUERY_ROWS && d + i < WIDTH) { four[i] = f32(dy[queryPlace(row, d + i)]); }
  }
  return four;
}
