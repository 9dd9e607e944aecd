// The three matrices of a product, four elements at a time: all widths are multiples of four.

@group(0) @binding(0) var<storage, read> left: array<vec4<Left>>;
@group(0) @binding(1) var<storage, read> right: array<vec4<Right>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Output>>;

// Elements column … column + 3 of a row; zeros outside.
fn readLeft(row: u32, column: u32) -> vec4<f32> {
  if (row >= LEFT_ROWS || column >= LEFT_WIDTH) {
    return vec4<f32>();
  }
  return vec4<f32>(left[(row * LEFT_WIDTH + column) / 4u]);
}

fn readRight(row: u32, column: u32) -> vec4<f32> {
  if (row >= RIGHT_ROWS || column >= RIGHT_WIDTH) {
    return vec4<f32>();
  }
  return vec4<f32>(right[(row * RIGHT_WIDTH + column) / 4u]);
}

// Writes what lies inside.
fn writeOutput(part: u32, row: u32, column: u32, value: vec4<f32>) {
  if (row < ROWS && column < COLUMNS) {
    output[((part * ROWS + row) * COLUMNS + column) / 4u] = vec4<Output>(value);
  }
}
