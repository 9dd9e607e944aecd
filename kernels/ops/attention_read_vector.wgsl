// What the kernels of attention read, four elements at once: a head's width is a
// multiple of 4. Each function gives 0 outside. Needs attention_layout.wgsl.

@group(0) @binding(0) var<storage, read> q: array<vec4<Q>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<K>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<V>>;

fn queryAt(row: u32, d: u32) -> vec4f {
  if (row >= QUERY_ROWS || d >= WIDTH) { return vec4f(); }
  return vec4f(q[queryPlace(row, d) / 4u]);
}

fn keyAt(key: u32, d: u32) -> vec4f {
  if (key >= KEYS || d >= WIDTH) { return vec4f(); }
  return vec4f(k[keyPlace(key, d) / 4u]);
}

fn valueAt(key: u32, d: u32) -> vec4f {
  if (key >= KEYS || d >= WIDTH) { return vec4f(); }
  return vec4f(v[keyPlace(key, d) / 4u]);
}
