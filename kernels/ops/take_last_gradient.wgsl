// dx = dy at the last position of each sequence, and 0 elsewhere. One
// invocation makes one element.

@group(0) @binding(0) var<storage, read> dy: array<DY>;
@group(0) @binding(1) var<storage, read_write> dx: array<DX>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) {
    return;
  }
  let position = i / WIDTH;
  let upstream = f32(dy[position / LENGTH * WIDTH + i % WIDTH]);
  dx[i] = DX(select(0.0, upstream, position % LENGTH == LENGTH - 1u));
}
