// What the gradients of attention read besides, as attention_read_vector.wgsl does.
// Needs attention_layout.wgsl.

@group(0) @binding(3) var<storage, read> dy: array<vec4<Upstream>>;

fn upstreamAt(row: u32, d: u32) -> vec4f {
  if (row >= QUERY_ROWS || d >= WIDTH) { return vec4f(); }
  return vec4f(dy[queryPlace(row, d) / 4u]);
}
