// What the THREADS invocations of a workgroup (a power of two) have together,
// in a fixed order: halves fold onto halves. All of them must call it.

var<workgroup> lanes: array<f32, THREADS>;

fn sumOfGroup(own: u32, value: f32) -> f32 {
  workgroupBarrier(); // the last result has been read
  lanes[own] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (own < half) {
      lanes[own] += lanes[own + half];
    }
  }
  workgroupBarrier();
  return lanes[0];
}

fn greatestOfGroup(own: u32, value: f32) -> f32 {
  workgroupBarrier();
  lanes[own] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (own < half) {
      lanes[own] = max(lanes[own], lanes[own + half]);
    }
  }
  workgroupBarrier();
  return lanes[0];
}
