import assert from "node:assert/strict";
import { command, execute, Exit, Failure, UsageError } from "./arguments.ts";

/** Runs a command that takes `--size`, and gathers what it says. */
async function run(args: readonly string[], action: () => void | Promise<void> = () => {}) {
  let [out, err] = ["", ""];
  const program = command({
    name: "knit",
    summary: "Knits.",
    examples: [{ does: "a scarf", line: "deno task knit --size 3" }],
  }).option("--size <number>", "how large").action(action);
  const code = await execute(program, args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
  });
  return { code, out, err };
}

Deno.test("help teaches, on standard output, and is no failure", async () => {
  const { code, out, err } = await run(["--help"]);
  assert.equal(code, 0);
  assert.match(out, /Usage: deno task knit/);
  assert.match(out, /# a scarf\n {2}\$ deno task knit --size 3/);
  assert.equal(err, "");
});

Deno.test("what can't be understood is named, with exit code 2", async () => {
  for (
    const [args, words] of [
      [["--sice", "3"], /unknown option '--sice'\n\(Did you mean --size\?\)/],
      [["--size"], /'--size <number>' argument missing/],
      [["scarf"], /too many arguments/],
    ] as const
  ) {
    const { code, out, err } = await run(args);
    assert.equal(code, 2);
    assert.equal(out, "");
    assert.match(err, words);
    assert.match(err, /deno task knit --help explains every flag/);
  }
});

Deno.test("every way to end has its exit code, and foreseen ones show no stack", async () => {
  const ends = (error: Error) => run([], () => Promise.reject(error));
  assert.deepEqual(await run([]), { code: 0, out: "", err: "" });
  assert.deepEqual(await ends(new UsageError("no wool")), { code: 2, out: "", err: "error: no wool\n" });
  assert.deepEqual(await ends(new Failure("it tore")), { code: 1, out: "", err: "error: it tore\n" });
  assert.deepEqual(await ends(new Exit(130)), { code: 130, out: "", err: "" });
  const bug = await ends(new RangeError("bug"));
  assert.equal(bug.code, 1);
  assert.match(bug.err, /^error: RangeError: bug\n\s+at /);
});
