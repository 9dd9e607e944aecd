import assert from "node:assert/strict";
import { ShaderFiles } from "./shader.ts";
import type { Dispatch } from "./writer.ts";

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
  ]);
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
