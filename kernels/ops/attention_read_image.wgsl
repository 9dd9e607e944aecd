// What the kernels of attention read, from images of the same elements in the
// same order, four in a texel: a head's width is a multiple of 4. Each function
// gives 0 outside. Needs attention_layout.wgsl.

@group(0) @binding(0) var<storage, read> q: array<Q>;
@group(0) @binding(1) var<storage, read> k: array<K>;
@group(0) @binding(2) var<storage, read> v: array<V>;
@group(2) @binding(0) var queryImage: texture_2d<f32>;
@group(2) @binding(1) var keyImage: texture_2d<f32>;
@group(2) @binding(2) var valueImage: texture_2d<f32>;

fn queryAt(row: u32, d: u32) -> vec4f {
  return select(vec4f(), texelOf(queryImage, queryPlace(row, d)), row < QUERY_ROWS && d < WIDTH);
}

fn keyAt(key: u32, d: u32) -> vec4f {
  return select(vec4f(), texelOf(keyImage, keyPlace(key, d)), key < KEYS && d < WIDTH);
}

fn valueAt(key: u32, d: u32) -> vec4f {
  return select(vec4f(), texelOf(valueImage, keyPlace(key, d)), key < KEYS && d < WIDTH);
}

/** Elements from a place on; what lies outside the image is anything. */
fn texelOf(image: texture_2d<f32>, place: u32) -> vec4f {
  return textureLoad(image, vec2u(place / 4u % IMAGE_WIDTH, place / 4u / IMAGE_WIDTH), 0);
}
