// What the gradients of attention read besides, as attention_read_image.wgsl does.
// Needs attention_layout.wgsl and attention_read_image.wgsl.

@group(0) @binding(3) var<storage, read> dy: array<Upstream>;
@group(2) @binding(3) var upstreamImage: texture_2d<f32>;

fn upstreamAt(row: u32, d: u32) -> vec4f {
  return select(vec4f(), texelOf(upstreamImage, queryPlace(row, d)), row < QUERY_ROWS && d < WIDTH);
}
