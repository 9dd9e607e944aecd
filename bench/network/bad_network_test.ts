import assert from "node:assert/strict";
import { RealClock } from "../../actors/core/real_clock.ts";
import type { Place } from "../../cli/local_swarm.ts";
import { BadNetwork } from "./bad_network.ts";
import { UNIMPAIRED } from "./between.ts";

const obstacle = await BadNetwork.obstacle();

/** Sends back what comes. */
const ECHO = `
  const listener = Deno.listen({ hostname: Deno.args[0], port: 4000 });
  console.log("up");
  for await (const peer of listener) peer.readable.pipeTo(peer.writable).catch(() => {});
`;
/** Prints the milliseconds that one byte takes there and back, once connected. */
const ASK = `
  const peer = await Deno.connect({ hostname: Deno.args[0], port: 4000 });
  const begun = performance.now();
  await peer.write(new Uint8Array(1));
  await peer.read(new Uint8Array(1));
  console.log(performance.now() - begun);
`;

/** A program at a place; its output, line by line. It ends when this is disposed of. */
function program(place: Place, source: string, argument: string) {
  const [nsenter, ...args] = [...place.through, Deno.execPath(), "eval", "--no-config", source, argument];
  const process = new Deno.Command(nsenter, { args, stdout: "piped" }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  return {
    line: async () => (await lines.next()).value,
    [Symbol.asyncDispose]: async () => {
      await lines.return!();
      try {
        process.kill("SIGKILL");
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError)) throw error;
      }
      await process.status;
    },
  };
}

Deno.test({
  name: `machines of a bad network are far apart, and cannot reach each other across a cut${
    obstacle === undefined ? "" : ` (left out: ${obstacle})`
  }`,
  ignore: obstacle !== undefined,
  async fn() {
    const folder = await Deno.makeTempDir();
    const clock = new RealClock();
    try {
      const impairment = { ...UNIMPAIRED, delayMs: 30, bitsPerSecond: 100e6 };
      await using network = await BadNetwork.open({ machines: 3, impairment, folder, clock });
      const [here, there] = [network.place(0), network.place(1)];
      await using echo = program(there, ECHO, there.ip);
      assert.equal(await echo.line(), "up\n");
      {
        await using question = program(here, ASK, there.ip);
        const milliseconds = Number(await question.line());
        assert.ok(milliseconds >= 60, `there and back in ${milliseconds} ms`);
      }
      await network.cut([0, 1, 0]);
      await using question = program(here, ASK, there.ip);
      let healed = false;
      const answered = question.line().then(() => assert.ok(healed, "an answer came across a cut"));
      // Nothing crosses for longer than an answer took; and what is lost, TCP sends again.
      await new Promise<void>((resolve) => clock.after(500, resolve));
      healed = true;
      await network.heal();
      await answered;
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
