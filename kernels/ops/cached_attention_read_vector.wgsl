// What the kernels of cached attention read, four elements at once: a head's
// width is a multiple of 4. Each function gives 0 outside. Needs
// cached_attention_layout.wgsl.

@group(0) @binding(0) var<storage, read> q: array<vec4<Q>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<K>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<V>>;
@group(0) @binding(3) var<storage, read> pastKeys: array<vec4<PastK>>;
@group(0) @binding(4) var<storage, read> pastValues: array<vec4<PastV>>;

fn queryAt(row: u32, d: u32) -> vec4f {
  if (row >= QUERY_ROWS || d >= WIDTH) { return vec4f(); }
  return vec4f(q[queryPlace(row, d) / 4u]);
}

fn keyAt(position: u32, d: u32) -> vec4f {
  if (position >= past + QUERIES || d >= WIDTH) { return vec4f(); }
  if (position < past) { return vec4f(pastKeys[pastPlace(position, d) / 4u]); }
  return vec4f(k[newPlace(position, d) / 4u]);
}

fn valueAt(position: u32, d: u32) -> vec4f {
  if (position >= past + QUERIES || d >= WIDTH) { return vec4f(); }
  if (position < past) { return vec4f(pastValues[pastPlace(position, d) / 4u]); }
  return vec4f(v[newPlace(position, d) / 4u]);
}
