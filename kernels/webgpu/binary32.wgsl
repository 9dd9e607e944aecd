// Arithmetic of f32 out of whole numbers: each result is the exact one, rounded
// once to the nearest (ties to even), denormals included, as IEEE 754 has it.
//
// WGSL lets a compiler fuse a product into a sum, a divider miss by 2.5 units
// in the last place, and any device flush denormals: fine for activations, but
// not where devices must agree to the bit. Numbers are their bits here, so no
// compiler and no device has a choice. Which bits a NaN has is not promised.

const SIGN = 0x80000000u;
const INFINITY = 0x7f800000u;
const NOT_A_NUMBER = 0x7fc00000u;
/// The leading bit of a normal number, which its bits leave out.
const LEADING = 0x00800000u;

/// significand · 2^(exponent − 150). The leading bit is bit 23, unless it is 0.
struct Parts {
  exponent: i32,
  significand: u32,
}

fn partsOf(magnitude: u32) -> Parts {
  let field = magnitude >> 23u;
  let fraction = magnitude & (LEADING - 1u);
  let shift = countLeadingZeros(fraction) - 8u;
  if (field == 0u) {
    return Parts(1 - i32(shift), fraction << min(shift, 31u));
  }
  return Parts(i32(field), fraction | LEADING);
}

/// value ÷ 2^count for count < 32; whatever is shifted out leaves a 1 in the last bit.
fn shiftedRight(value: u32, count: u32) -> u32 {
  return (value >> count) | u32((value & ((1u << count) - 1u)) != 0u);
}

/// The number next to significand · 2^(exponent − 157); the leading bit is bit 30, unless it is 0.
fn rounded(sign: u32, exponent: i32, significand: u32) -> u32 {
  // Below the least exponent, the leading bit moves to the right: a denormal.
  let kept = shiftedRight(significand, u32(clamp(1 - exponent, 0, 31)));
  let tie = u32((kept & 0x7fu) == 0x40u);
  let fraction = ((kept + 0x40u) >> 7u) & ~tie;
  // The leading bit counts one up in the exponent, as does a carry out of the fraction.
  let field = select(u32(clamp(exponent, 1, 255)) - 1u, 0u, significand == 0u);
  return sign | min((field << 23u) + fraction, INFINITY);
}

fn multiply(a: u32, b: u32) -> u32 {
  let sign = (a ^ b) & SIGN;
  let greater = max(a & ~SIGN, b & ~SIGN);
  let less = min(a & ~SIGN, b & ~SIGN);
  if (greater >= INFINITY) {
    return select(sign | INFINITY, NOT_A_NUMBER, greater > INFINITY || less == 0u);
  }
  let x = partsOf(greater);
  let y = partsOf(less);
  // 24 by 24 bits, in halves of 12.
  let high = vec2u(x.significand, y.significand) >> vec2u(12u);
  let low = vec2u(x.significand, y.significand) & vec2u(0xfffu);
  let middle = high.x * low.y + low.x * high.y;
  let tail = low.x * low.y + ((middle & 0xfffu) << 12u);
  let head = high.x * high.y + (middle >> 12u) + (tail >> 24u);
  let product = (head << 7u) | shiftedRight(tail & 0xffffffu, 17u);
  let short = 1u - (product >> 30u);
  return rounded(sign, x.exponent + y.exponent - 126 - i32(short), product << short);
}

fn add(a: u32, b: u32) -> u32 {
  let ordered = (a & ~SIGN) >= (b & ~SIGN);
  let greater = select(b, a, ordered);
  let x = greater & ~SIGN;
  let y = select(a, b, ordered) & ~SIGN;
  let opposite = ((a ^ b) & SIGN) != 0u;
  if (x >= INFINITY) {
    return select(greater, NOT_A_NUMBER, x > INFINITY || (y == INFINITY && opposite));
  }
  // A denormal has the least exponent and no leading bit.
  let exponent = max(x >> 23u, 1u);
  let gap = exponent - max(y >> 23u, 1u);
  let fractions = vec2u(x, y) & vec2u(LEADING - 1u);
  let leading = select(vec2u(0u), vec2u(LEADING), vec2u(x, y) >= vec2u(LEADING));
  let wide = (fractions | leading) << vec2u(6u);
  let lesser = shiftedRight(wide.y, min(gap, 31u));
  let sum = select(wide.x + lesser, wide.x - lesser, opposite);
  if (sum == 0u) {
    return a & b & SIGN; // -0 only as the sum of two
  }
  let shift = countLeadingZeros(sum) - 1u;
  return rounded(greater & SIGN, i32(exponent) + 1 - i32(shift), sum << shift);
}

fn subtract(a: u32, b: u32) -> u32 {
  return add(a, b ^ SIGN);
}

fn divide(a: u32, b: u32) -> u32 {
  let sign = (a ^ b) & SIGN;
  let above = a & ~SIGN;
  let below = b & ~SIGN;
  if (max(above, below) > INFINITY || (above == below && (above == 0u || above == INFINITY))) {
    return NOT_A_NUMBER;
  }
  if (above == INFINITY || below == 0u) {
    return sign | INFINITY;
  }
  if (above == 0u || below == INFINITY) {
    return sign;
  }
  let x = partsOf(above);
  let y = partsOf(below);
  let short = u32(x.significand < y.significand);
  let dividend = x.significand << short;
  // The device's own quotient may miss its last bits. The remainder tells by how much: it is exact, even
  // where dividend · 2²⁵ does not fit, as long as less than 2⁷ is missed.
  let divisor = i32(y.significand);
  var quotient = u32(f32(dividend) / f32(y.significand) * 33554432.0);
  var remainder = bitcast<i32>((dividend << 25u) - quotient * y.significand);
  let missed = i32(floor(f32(remainder) / f32(divisor)));
  quotient += bitcast<u32>(missed);
  remainder -= missed * divisor;
  // That division may itself be one off.
  let step = i32(remainder >= divisor) - i32(remainder < 0);
  quotient += bitcast<u32>(step);
  remainder -= step * divisor;
  let exponent = x.exponent - y.exponent + 127 - i32(short);
  return rounded(sign, exponent, (quotient << 5u) | u32(remainder != 0));
}

fn squareRoot(a: u32) -> u32 {
  if ((a & ~SIGN) == 0u || a == INFINITY) {
    return a;
  }
  if (a > INFINITY) {
    return NOT_A_NUMBER; // or below zero
  }
  let x = partsOf(a);
  let odd = u32(x.exponent & 1) ^ 1u;
  let square = x.significand << odd;
  // As in `divide`; less than 2⁵ may be missed.
  var root = i32(sqrt(f32(square << 1u)) * 4096.0);
  var remainder = bitcast<i32>((square << 25u) - u32(root) * u32(root));
  let missed = i32(floor(f32(remainder) / f32(2 * root)));
  remainder -= (2 * root + missed) * missed;
  root += missed;
  let step = i32(remainder > 2 * root) - i32(remainder < 0);
  remainder -= (2 * root + step) * step;
  root += step;
  let exponent = (x.exponent - i32(odd) - 127) / 2 + 127;
  return rounded(0u, exponent, (bitcast<u32>(root) << 6u) | u32(remainder != 0));
}
