// Row i of source over row rows[i] of destination. One invocation copies one element.

@group(0) @binding(0) var<storage, read> source: array<Source>;
@group(0) @binding(1) var<storage, read> rows: array<i32>;
@group(0) @binding(2) var<storage, read_write> destination: array<Destination>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < arrayLength(&rows) * WIDTH) {
    destination[u32(rows[i / WIDTH]) * WIDTH + i % WIDTH] = Destination(f32(source[i]));
  }
}
