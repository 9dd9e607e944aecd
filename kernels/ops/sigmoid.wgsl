// σ(z) = 1 / (1 + e^−z), and 1 − σ(z) without cancellation. The exponential is
// of what is not positive, so nothing overflows.

fn sigmoid(z: f32) -> vec2f {
  let small = exp(-abs(z));
  return select(vec2f(small, 1.0), vec2f(1.0, small), z >= 0.0) / (1.0 + small);
}
