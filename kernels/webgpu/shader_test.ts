import assert from "node:assert/strict";
import { ShaderFiles } from "./shader.ts";
import type { Dispatch } from "./writer.ts";

const HALF_LINES = [
  "const HALF_MAX_ = 65504.0;",
  "fn half_(value: f32) -> f16 { return f16(clamp(value, -HALF_MAX_, HALF_MAX_)); }",
  "fn fourHalves_(value: vec4f) -> vec4h { return vec4h(clamp(value, vec4f(-HALF_MAX_), vec4f(HALF_MAX_))); }",
];

const EMPTY: Dispatch = { source: [], bindings: [], workgroups: [1, 1, 1] };

Deno.test("numbers become literals of their type", () => {
  const text = new ShaderFiles().textOf({
    ...EMPTY,
    constants: { COUNT: 4_294_967_295, TINY: 1e-8, CAUSAL: true },
    floats: { ONE: 1, ALL: -3 },
    tables: { LOOKED_UP: Uint32Array.of(7, 4_294_967_295) },
    types: { X: "f16", Y: "f32", Z: "i32" },
  });
  assert.deepEqual(text.split("\n"), [
    "enable f16;",
    "alias X = f16;",
    "alias Y = f32;",
    "alias Z = i32;",
    "const COUNT: u32 = 4294967295u;",
    "const TINY: f32 = 9.99999993922529e-9f;",
    "const CAUSAL: bool = true;",
    "const ONE: f32 = 1f;",
    "const ALL: f32 = -3f;",
    "const LOOKED_UP = array<u32, 2>(7u, 4294967295u);",
    ...HALF_LINES,
  ]);
});

Deno.test("what 16 bits can't hold is stored as the greatest that they can", async () => {
  const files = new ShaderFiles();
  const source = ["./cast.wgsl", "../ops/matrix_access_vector.wgsl"].map((path) =>
    new URL(path, import.meta.url)
  );
  await files.load(source);
  const text = files.textOf({ ...EMPTY, source, types: { X: "f32", Y: "f16", Output: "f16", Left: "f16" } });
  assert.ok(text.includes("y[i] = half_(f32(x[i]));"));
  assert.match(text, /output\[.*\] = fourHalves_\(value\);/);
  assert.ok(text.includes("var<storage, read> left: array<vec4<Left>>;"));
});

Deno.test("sizes are read where the files name them", async () => {
  const files = new ShaderFiles();
  const source = [new URL("./cast.wgsl", import.meta.url)];
  await files.load(source);
  const text = files.textOf({ ...EMPTY, source, sizes: { COUNT: 5 } });
  assert.ok(text.includes("struct Sizes_ { COUNT: u32 }"));
  assert.ok(text.includes("if (i < sizes_.COUNT)"));
  assert.equal(text, files.textOf({ ...EMPTY, source, sizes: { COUNT: 6 } }), "one kernel for all of them");
});

Deno.test("numbers without a literal are refused", () => {
  const files = new ShaderFiles();
  for (
    const [dispatch, message] of [
      [{ constants: { N: -1 } }, "Cannot write kernel: N is -1, expected an unsigned number of 32 bits"],
      [
        { constants: { N: 2 ** 32 } },
        "Cannot write kernel: N is 4294967296, expected an unsigned number of 32 bits",
      ],
      [{ floats: { F: Infinity } }, "Cannot write kernel: F is Infinity, expected a finite f32"],
      [{ floats: { F: 1e39 } }, "Cannot write kernel: F is 1e+39, expected a finite f32"],
    ] as const
  ) {
    assert.throws(() => files.textOf({ ...EMPTY, ...dispatch }), { name: "TypeError", message });
  }
});

Deno.test("a file that is missing is named", async () => {
  const missing = new URL("./no_such.wgsl", import.meta.url);
  await assert.rejects(new ShaderFiles().load([missing]), /Cannot read kernel .*no_such\.wgsl/);
});
