// probabilities = softmax(logits), and −ln of the target's for each row.
// One workgroup takes one row and reads it twice: an invocation keeps the
// greatest logit it met, and the sum of exponentials against it (Milakov &
// Gimelshein, 2018, algorithm 3).

@group(0) @binding(0) var<storage, read> logits: array<Logits>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> probabilities: array<Probabilities>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

/// e^−distance; 0 where that is less than any f32.
fn faded(distance: f32) -> f32 {
  return exp(-min(distance, 110.0));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) own: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= ROWS) {
    return;
  }
  let start = row * WIDTH;
  // Who has no element has one of the row's, and adds nothing.
  var peak = f32(logits[start + min(own, WIDTH - 1u)]);
  var sum = 0.0;
  for (var i = own; i < WIDTH; i += THREADS) {
    let logit = f32(logits[start + i]);
    let rest = faded(abs(logit - peak));
    sum = select(sum + rest, sum * rest + 1.0, logit > peak);
    peak = max(peak, logit);
  }
  let greatest = greatestOfGroup(own, peak);
  let total = sumOfGroup(own, sum * faded(greatest - peak));
  for (var i = own; i < WIDTH; i += THREADS) {
    probabilities[start + i] = Probabilities(faded(greatest - f32(logits[start + i])) / total);
  }
  if (own == 0u) {
    let token = targets[row];
    let logit = f32(logits[start + u32(max(token, 0))]);
    losses[row] = select(log(total) + (greatest - logit), 0.0, token < 0);
  }
}
