// What the THREADS invocations of a workgroup (a multiple of 16) have together,
// in a fixed order: 16 fold all, and each folds the 16. All invocations must
// call it. Two barriers suffice, for the next call as well: it writes to `lanes`
// when nobody reads them any more, and to `folds` after its own first barrier.

var<workgroup> lanes: array<f32, THREADS>;
var<workgroup> folds: array<f32, 16>;

fn sumOfGroup(own: u32, value: f32) -> f32 {
  lanes[own] = value;
  workgroupBarrier();
  if (own < 16u) {
    var fold = 0.0;
    for (var k = own; k < THREADS; k += 16u) {
      fold += lanes[k];
    }
    folds[own] = fold;
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var k = 0u; k < 16u; k++) {
    sum += folds[k];
  }
  return sum;
}

fn greatestOfGroup(own: u32, value: f32) -> f32 {
  lanes[own] = value;
  workgroupBarrier();
  if (own < 16u) {
    var fold = lanes[own];
    for (var k = own + 16u; k < THREADS; k += 16u) {
      fold = max(fold, lanes[k]);
    }
    folds[own] = fold;
  }
  workgroupBarrier();
  var greatest = folds[0];
  for (var k = 1u; k < 16u; k++) {
    greatest = max(greatest, folds[k]);
  }
  return greatest;
}
