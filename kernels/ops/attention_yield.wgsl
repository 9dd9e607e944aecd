// What attention yields. Needs attention_layout.wgsl.

@group(0) @binding(3) var<storage, read_write> y: array<Y>;
@group(0) @binding(4) var<storage, read_write> logSumExp: array<LogSumExp>;

fn keepLogSum(row: u32, logSum: f32) {
  logSumExp[rowPlace(row)] = LogSumExp(logSum);
}
