// Joins the parts of each query, in their order. One invocation makes one
// element of y.

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * 256u + id.x;
  if (i >= COUNT) { return; }
  let first = i / WIDTH * PARTS;
  var greatest = parts[first * (WIDTH + 2u) + WIDTH];
  for (var part = first + 1u; part < first + PARTS; part++) {
    greatest = max(greatest, parts[part * (WIDTH + 2u) + WIDTH]);
  }
  var sum = 0.0;
  var total = 0.0;
  for (var part = first; part < first + PARTS; part++) {
    let place = part * (WIDTH + 2u);
    let weight = exp(parts[place + WIDTH] - greatest);
    sum += weight * parts[place + i % WIDTH];
    total += weight * parts[place + WIDTH + 1u];
  }
  y[i] = Y(sum / total);
}
