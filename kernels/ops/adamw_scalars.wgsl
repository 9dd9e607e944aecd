// The numbers of a step as bits in one tensor, and what a parameter keeps of
// itself: 1 − rate · decay.

@group(0) @binding(0) var<storage, read> scale: array<u32>;
@group(0) @binding(1) var<storage, read> rate: array<u32>;
@group(0) @binding(2) var<storage, read> correction1: array<u32>;
@group(0) @binding(3) var<storage, read> correction2: array<u32>;
@group(0) @binding(4) var<storage, read_write> scalars: array<u32>;

@compute @workgroup_size(1)
fn main() {
  scalars[0] = scale[0];
  scalars[1] = rate[0];
  scalars[2] = correction1[0];
  scalars[3] = correction2[0];
  scalars[4] = subtract(ONE, multiply(rate[0], DECAY));
}
