// Turns each pair of dimensions by position · frequency. One invocation turns
// one pair. Angles are whole turns in fixed point, so that the far end of a long
// text is turned as exactly as its beginning, and whole turns drop out by
// themselves. Sine and cosine are polynomials on an eighth of a turn (those of
// Cephes, Moshier, 1989): WGSL promises only 2^-11 for its own.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> positions: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;

/// High word of a product of 64 bits.
fn highProduct(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}

/// Cosine and sine of so many 2^-32ths of a turn.
fn direction(turn: u32) -> vec2f {
  let quadrant = (turn + 0x20000000u) >> 30u;
  let rest = bitcast<i32>(turn - (quadrant << 30u));
  let angle = f32(rest) * 1.4629180792671596e-9; // 2π / 2^32
  let z = angle * angle;
  let sine = angle + angle * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
  let cosine = 1.0 - 0.5 * z +
    z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  let swapped = select(vec2f(cosine, sine), vec2f(-sine, cosine), (quadrant & 1u) == 1u);
  return select(swapped, -swapped, (quadrant & 2u) == 2u);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pair = id.y * groups.x * 256u + id.x;
  if (pair >= COUNT) {
    return;
  }
  let i = pair % HALF;
  let row = pair / (HALF * HEADS);
  let first = (pair / HALF) * 2u * HALF + i;
  let second = first + HALF;

  let position = bitcast<u32>(positions[row % POSITIONS]);
  let frequency = vec2u(FREQUENCIES[2u * i], FREQUENCIES[2u * i + 1u]);
  var turned = direction(position * frequency.x + highProduct(position, frequency.y));
  if (INVERSE) {
    turned.y = -turned.y;
  }
  let left = f32(x[first]);
  let right = f32(x[second]);
  y[first] = Y(left * turned.x - right * turned.y);
  y[second] = Y(right * turned.x + left * turned.y);
}
