// order = the positions of the tokens, sorted by token, equal ones as they
// stand. A position's place is how many come before it, which it counts: no
// two find the same, so nobody waits for anybody. Quadratic in tokens, but of
// one comparison: 4,096 tokens are 16 million, less than one row of a head's
// matrix product.

@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read_write> order: array<i32>;

var<workgroup> tile: array<i32, 256>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) own: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + own;
  let token = tokens[min(i, COUNT - 1u)];
  var place = 0u;
  for (var start = 0u; start < COUNT; start += 256u) {
    workgroupBarrier();
    tile[own] = tokens[min(start + own, COUNT - 1u)];
    workgroupBarrier();
    for (var k = 0u; k < min(256u, COUNT - start); k++) {
      place += u32(tile[k] < token || (tile[k] == token && start + k < i));
    }
  }
  if (i < COUNT) {
    order[place] = i32(i);
  }
}
