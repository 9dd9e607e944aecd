// last = the last position of each sequence. One invocation copies one element.

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> last: array<Last>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i < COUNT) {
    let sequence = i / WIDTH;
    last[i] = Last(f32(x[((sequence + 1u) * LENGTH - 1u) * WIDTH + i % WIDTH]));
  }
}
