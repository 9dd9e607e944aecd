// The three matrices of a product, one element at a time: any widths.

@group(0) @binding(0) var<storage, read> left: array<Left>;
@group(0) @binding(1) var<storage, read> right: array<Right>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;

// Elements column … column + 3 of a row; zeros outside.
fn readLeft(row: u32, column: u32) -> vec4<f32> {
  var four = vec4<f32>();
  if (row < LEFT_ROWS) {
    let start = row * LEFT_WIDTH + column;
    if (column < LEFT_WIDTH) { four.x = f32(left[start]); }
    if (column + 1u < LEFT_WIDTH) { four.y = f32(left[start + 1u]); }
    if (column + 2u < LEFT_WIDTH) { four.z = f32(left[start + 2u]); }
    if (column + 3u < LEFT_WIDTH) { four.w = f32(left[start + 3u]); }
  }
  return four;
}

fn readRight(row: u32, column: u32) -> vec4<f32> {
  var four = vec4<f32>();
  if (row < RIGHT_ROWS) {
    let start = row * RIGHT_WIDTH + column;
    if (column < RIGHT_WIDTH) { four.x = f32(right[start]); }
    if (column + 1u < RIGHT_WIDTH) { four.y = f32(right[start + 1u]); }
    if (column + 2u < RIGHT_WIDTH) { four.z = f32(right[start + 2u]); }
    if (column + 3u < RIGHT_WIDTH) { four.w = f32(right[start + 3u]); }
  }
  return four;
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
