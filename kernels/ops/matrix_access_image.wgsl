// The three matrices of a product whose operands were packed into images (pack.wgsl), both along k.
// There is nothing to guard: beyond k are zeros, and what lies beyond an operand's rows is not written.

@group(0) @binding(0) var<storage, read_write> output: array<Output>;
@group(2) @binding(0) var left: texture_2d<f32>;
@group(2) @binding(1) var right: texture_2d<f32>;

// Elements column … column + 3 of a row; column is a multiple of four.
fn readLeft(row: u32, column: u32) -> vec4<f32> {
  return textureLoad(left, placeOf(row * PITCH + column / 4u), 0);
}

fn readRight(row: u32, column: u32) -> vec4<f32> {
  return textureLoad(right, placeOf(row * PITCH + column / 4u), 0);
}

fn placeOf(texel: u32) -> vec2<u32> {
  return vec2<u32>(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH);
}

// Writes what lies inside.
fn writeOutput(part: u32, row: u32, column: u32, value: vec4<f32>) {
  if (row < ROWS) {
    let start = (part * ROWS + row) * COLUMNS + column;
    if (column < COLUMNS) { output[start] = Output(value.x); }
    if (column + 1u < COLUMNS) { output[start + 1u] = Output(value.y); }
    if (column + 2u < COLUMNS) { output[start + 2u] = Output(value.z); }
    if (column + 3u < COLUMNS) { output[start + 3u] = Output(value.w); }
  }
}
