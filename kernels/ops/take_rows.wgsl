// Row i of taken = row at[i] of hidden. One invocation copies one element.

@group(0) @binding(0) var<storage, read> hidden: array<Hidden>;
@group(0) @binding(1) var<storage, read> at: array<i32>;
@group(0) @binding(2) var<storage, read_write> taken: array<Taken>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    taken[i] = Taken(f32(hidden[u32(at[i / WIDTH]) * WIDTH + i % WIDTH]));
  }
}
