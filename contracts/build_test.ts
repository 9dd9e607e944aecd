import assert from "node:assert/strict";
import { artifactTexts } from "./build.ts";
import { compile, CompileError, readSources } from "./compile.ts";

Deno.test("the artifacts are those of the sources", async () => {
  for (const [path, text] of Object.entries(artifactTexts())) {
    const kept = await Deno.readTextFile(new URL(path, import.meta.url));
    assert.ok(kept === text, `${path} is out of date: run \`deno task contracts\``);
  }
});

Deno.test("a source that does not compile is refused with the compiler's words, and so is a warning", () => {
  const header = "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\n";
  const broken = { "A.sol": `${header}contract A { uint256 x = "no"; }` };
  assert.throws(
    () => compile(broken),
    (error) => error instanceof CompileError && /A\.sol/.test(error.message),
  );
  const unused = { "A.sol": `${header}contract A { function f() external pure { uint256 x = 1; } }` };
  assert.throws(() => compile(unused), /Unused local variable/);
  assert.ok("A" in compile(unused, { lenient: true }).artifacts);
  const missing = { "A.sol": `${header}import "@nobody/nothing.sol";` };
  assert.throws(() => compile(missing), /Cannot import @nobody\/nothing\.sol/);
});

Deno.test("adversaries are sources of the tests alone", () => {
  assert.ok(!Object.keys(readSources()).some((name) => name.startsWith("adversaries/")));
  assert.ok("adversaries/LyingToken.sol" in readSources({ adversaries: true }));
});
