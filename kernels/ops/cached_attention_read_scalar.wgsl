// What the kernels of cached attention read, for a head of any width. Each
// function gives four elements, 0 outside. Needs cached_attention_layout.wgsl.

@group(0) @binding(0) var<storage, read> q: array<Q>;
@group(0) @binding(1) var<storage, read> k: array<K>;
@group(0) @binding(2) var<storage, read> v: array<V>;
@group(0) @binding(3) var<storage, read> pastKeys: array<PastK>;
@group(0) @binding(4) var<storage, read> pastValues: array<PastV>;

fn queryAt(row: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u && d + i < WIDTH && row < QUERY_ROWS; i++) { four[i] = f32(q[queryPlace(row, d + i)]); }
  return four;
}

fn keyAt(position: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u && d + i < WIDTH && position < past + QUERIES; i++) {
    if (position < past) {
      four[i] = f32(pastKeys[pastPlace(position, d + i)]);
    } else {
      four[i] = f32(k[newPlace(position, d + i)]);
    }
  }
  return four;
}

fn valueAt(position: u32, d: u32) -> vec4f {
  var four: vec4f;
  for (var i = 0u; i < 4u && d + i < WIDTH && position < past + QUERIES; i++) {
    if (position < past) {
      four[i] = f32(pastValues[pastPlace(position, d + i)]);
    } else {
      four[i] = f32(v[newPlace(position, d + i)]);
    }
  }
  return four;
}
