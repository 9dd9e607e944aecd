import assert from "node:assert/strict";
import { endLogging, startLogging } from "./logging.ts";

async function logged(
  json: boolean,
  tell: (log: Awaited<ReturnType<typeof startLogging>>) => void,
): Promise<string> {
  let written = "";
  const output = {
    out: () => assert.fail("logs are no results"),
    err: (text: string) => void (written += text),
  };
  tell(await startLogging("host", { logLevel: "info", json }, output));
  await endLogging();
  return written;
}

Deno.test("a person reads lines, with the level where it is worth a look", async () => {
  const text = await logged(false, (log) => {
    log.debug("not told");
    log.info("Serving stage {stage}", { stage: 1, reason: "two words" });
    log.warn("Mind the gap");
  });
  assert.match(text, /^\d\d:\d\d:\d\d host Serving stage 1 {2}stage=1 {2}reason="two words"\n/);
  assert.match(text, /\n\d\d:\d\d:\d\d host warning: Mind the gap\n$/);
});

Deno.test("words of strangers can't steer the terminal", async () => {
  const text = await logged(false, (log) => log.info("Said {words}", { words: "\x1b[2J\nfake \x9b2J line" }));
  assert.equal(text.split("\n").length, 2);
  assert.ok(!text.includes("\x1b") && !text.includes("\x9b"));
});

Deno.test("a machine reads JSON lines", async () => {
  const text = await logged(true, (log) => log.info("Up", { peer: "a" }));
  assert.equal(JSON.parse(text).properties.peer, "a");
});
