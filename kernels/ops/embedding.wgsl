// hidden = the tokens' rows of the table. One invocation copies one element.

@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read> table: array<Table>;
@group(0) @binding(2) var<storage, read_write> hidden: array<Hidden>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    hidden[i] = Hidden(f32(table[u32(tokens[i / WIDTH]) * WIDTH + i % WIDTH]));
  }
}
