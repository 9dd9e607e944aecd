// dx = r · (dy·gain − x · s r² / C) with s = Σ over C of dy·gain·x, and what a
// block of rows adds to dgain. One workgroup takes one block, row by row, so
// that an invocation keeps the sums of its own columns.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> gain: array<Gain>;
@group(0) @binding(2) var<storage, read> inverse: array<Inverse>;
@group(0) @binding(3) var<storage, read> dy: array<DY>;
@group(0) @binding(4) var<storage, read_write> dx: array<DX>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>; // [block, C]

/// Columns of one invocation.
const COLUMNS = (WIDTH + THREADS - 1u) / THREADS;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) own: u32) {
  var sums: array<f32, COLUMNS>;
  let end = min((group.x + 1u) * BLOCK_ROWS, ROWS);
  for (var row = group.x * BLOCK_ROWS; row < end; row++) {
    let start = row * WIDTH;
    let r = f32(inverse[row]);
    var pull = 0.0;
    for (var k = 0u; k < COLUMNS; k++) {
      let c = k * THREADS + own;
      if (c < WIDTH) {
        let product = f32(dy[start + c]) * f32(x[start + c]);
        pull += product * f32(gain[c]);
        sums[k] += product * r;
      }
    }
    pull = sumOfGroup(own, pull) * r * r / f32(WIDTH);
    for (var c = own; c < WIDTH; c += THREADS) {
      dx[start + c] = DX(r * (f32(dy[start + c]) * f32(gain[c]) - f32(x[start + c]) * pull));
    }
  }
  for (var k = 0u; k < COLUMNS; k++) {
    let c = k * THREADS + own;
    if (c < WIDTH) {
      partial[group.x * WIDTH + c] = sums[k];
    }
  }
}
