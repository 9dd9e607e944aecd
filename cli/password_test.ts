import assert from "node:assert/strict";
import { Failure, UsageError } from "./arguments.ts";
import { newPassword, readPassword, type Terminal } from "./password.ts";

/** Somebody who types these bytes. */
function typing(text: string): Terminal & { readonly raw: boolean[] } {
  const bytes = new TextEncoder().encode(text);
  const raw: boolean[] = [];
  let at = 0;
  return {
    raw,
    isTerminal: () => true,
    setRaw: (on) => void raw.push(on),
    readSync: (into) => {
      if (at === bytes.length) return null;
      into[0] = bytes[at++]!;
      return 1;
    },
  };
}

Deno.test("a typed password ends with enter, and what was erased is not in it", async () => {
  const terminal = typing("pä\u007fassx\u007f\rmore");
  assert.equal(await readPassword("?", undefined, terminal), "pass");
  assert.deepEqual(terminal.raw, [true, false]);
  await assert.rejects(readPassword("?", undefined, typing("pa\u0003")), Failure);
});

Deno.test("a new password is asked for twice, and is not empty", async () => {
  assert.equal(await newPassword(undefined, typing("secret\nsecret\n")), "secret");
  await assert.rejects(newPassword(undefined, typing("secret\nsecrets\n")), Failure);
  await assert.rejects(newPassword(undefined, typing("\n")), UsageError);
});

Deno.test("a password comes from the first line of a file, or from nowhere", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, "from a file\nnot this\n");
    assert.equal(await newPassword(file), "from a file");
  } finally {
    await Deno.remove(file);
  }
  await assert.rejects(readPassword("?", `${file}.not`), UsageError);
  await assert.rejects(readPassword("?", undefined, { ...typing(""), isTerminal: () => false }), UsageError);
});
