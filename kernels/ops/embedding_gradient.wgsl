// Each token's row of dtable = the sum of dy at its positions, in their order.
// Rows of other tokens are not touched: they are cleared before. A workgroup
// takes one place in the order and THREADS columns; only the first of a
// token's places works.

@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read> order: array<i32>;
@group(0) @binding(2) var<storage, read> dy: array<DY>;
@group(0) @binding(3) var<storage, read_write> dtable: array<DTable>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) own: u32,
) {
  let place = group.y * groups.x + group.x;
  let c = group.z * THREADS + own;
  if (place >= COUNT || c >= WIDTH) {
    return;
  }
  let token = tokens[order[place]];
  if (place > 0u && tokens[order[place - 1u]] == token) {
    return;
  }
  var sum = 0.0;
  for (var k = place; k < COUNT; k++) {
    let position = u32(order[k]);
    if (tokens[position] != token) {
      break;
    }
    sum += f32(dy[position * WIDTH + c]);
  }
  dtable[u32(token) * WIDTH + c] = DTable(sum);
}
