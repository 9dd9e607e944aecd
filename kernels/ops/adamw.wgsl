// One step of AdamW, in the order and with the roundings of `adamw.ts`, on the
// bits of the numbers. One invocation moves one element. It knows its count from
// its bindings (what fills up their last vector is moved along), so that one
// compilation, which is long, serves every parameter of a stage.

@group(0) @binding(0) var<storage, read> parameter: array<u32>;
@group(0) @binding(1) var<storage, read> gradientSum: array<u32>;
@group(0) @binding(2) var<storage, read> m: array<u32>;
@group(0) @binding(3) var<storage, read> v: array<u32>;
@group(0) @binding(4) var<storage, read> scalars: array<u32>;
@group(0) @binding(5) var<storage, read_write> newParameter: array<u32>;
@group(0) @binding(6) var<storage, read_write> newM: array<u32>;
@group(0) @binding(7) var<storage, read_write> newV: array<u32>;

/// Zero for a denormal.
fn settled(number: u32) -> u32 {
  return select(number, 0u, (number & INFINITY) == 0u);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= arrayLength(&parameter)) {
    return;
  }
  let scale = scalars[0];
  let rate = scalars[1];
  let g = multiply(gradientSum[i], scale);
  let mean = settled(add(multiply(BETA1, m[i]), multiply(REST1, g)));
  let square = settled(add(multiply(BETA2, v[i]), multiply(REST2, multiply(g, g))));
  let spread = squareRoot(multiply(square, scalars[3]));
  let step = divide(multiply(mean, scalars[2]), add(spread, EPSILON));
  newParameter[i] = subtract(multiply(parameter[i], scalars[4]), multiply(rate, step));
  newM[i] = mean;
  newV[i] = square;
}
