// Blocks of 4 × 4 of the operands of output[m, n] = Σ over k of left(m, k) right(k, n), however they lie
// in memory: a transpose is in how they are read.

// Column j of the result holds left(m … m + 3, k + j).
fn leftBlock(m: u32, k: u32) -> mat4x4<f32> {
  if (LEFT_ALONG_K) {
    return transpose(mat4x4<f32>(
      readLeft(m, k), readLeft(m + 1u, k), readLeft(m + 2u, k), readLeft(m + 3u, k),
    ));
  }
  return mat4x4<f32>(readLeft(k, m), readLeft(k + 1u, m), readLeft(k + 2u, m), readLeft(k + 3u, m));
}

// Column j of the result holds right(k + j, n … n + 3).
fn rightBlock(k: u32, n: u32) -> mat4x4<f32> {
  if (RIGHT_ALONG_K) {
    return transpose(mat4x4<f32>(
      readRight(n, k), readRight(n + 1u, k), readRight(n + 2u, k), readRight(n + 3u, k),
    ));
  }
  return mat4x4<f32>(readRight(k, n), readRight(k + 1u, n), readRight(k + 2u, n), readRight(k + 3u, n));
}

// sum + l rᵀ, where column i of the sum is row m + i of the output.
fn addOuter(sum: mat4x4<f32>, l: vec4<f32>, r: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    fma(vec4<f32>(l.x), r, sum[0]),
    fma(vec4<f32>(l.y), r, sum[1]),
    fma(vec4<f32>(l.z), r, sum[2]),
    fma(vec4<f32>(l.w), r, sum[3]),
  );
}

fn writeBlock(part: u32, m: u32, n: u32, block: mat4x4<f32>) {
  writeOutput(part, m, n, block[0]);
  writeOutput(part, m + 1u, n, block[1]);
  writeOutput(part, m + 2u, n, block[2]);
  writeOutput(part, m + 3u, n, block[3]);
}
