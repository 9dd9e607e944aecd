// What the kernels of attention read, for a head of any width. Each function
// gives four elements, 0 outside. Needs attention_layout.wgsl.

@group(0) @binding(0) var<storage, read> q: array<Q>;
@group(0) @binding(1) var<storage, read> k: array<K>;
@group(0) @binding(2) var<storage, read> v: array<V>;

fn queryAt(row: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u; i++) {
    if (row < QUERY_ROWS && d + i < WIDTH) { four[i] = f32(q[queryPlace(row, d + i)]); }
  }
  return four;
}

fn keyAt(key: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u; i++) {
    if (key < KEYS && d + i < WIDTH) { four[i] = f32(k[keyPlace(key, d + i)]); }
  }
  return four;
}

fn valueAt(key: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u; i++) {
    if (key < KEYS && d + i < WIDTH) { four[i] = f32(v[keyPlace(key, d + i)]); }
  }
  return four;
}
