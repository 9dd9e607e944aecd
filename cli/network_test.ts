import assert from "node:assert/strict";
import { command, execute, UsageError } from "./arguments.ts";
import { joinOptions, nodeSettings, readSwarmKey, remedy } from "./network.ts";

const PEER = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
const RELAY = `/ip4/203.0.113.7/tcp/4001/p2p/${PEER}`;

Deno.test("the remedy can be copied: a port, and the address that others have seen", () => {
  const options = { bootstrap: [], listen: "/ip4/0.0.0.0/tcp/0" };
  assert.equal(
    remedy(options, "/ip4/93.184.216.34"),
    "open TCP port 4002 on your router for this machine and start with " +
      "--listen /ip4/0.0.0.0/tcp/4002 --announce /ip4/93.184.216.34/tcp/4002, " +
      "or let the router do it with --upnp, or name a relay with --relay, as any bootstrap node is",
  );
  assert.equal(
    remedy({ ...options, listen: "/ip4/0.0.0.0/tcp/4010", upnp: true, relay: [RELAY] }, undefined),
    "open TCP port 4010 on your router for this machine and start with " +
      "--announce /ip4/<your public address>/tcp/4010",
  );
});

Deno.test("flags of the network mean what they say, and a relay contradicts a public address", async () => {
  let seen: Parameters<typeof nodeSettings>[0] | undefined;
  let complaint = "";
  const run = (args: string[]) => {
    const program = joinOptions(command({ name: "try", summary: "Tries.", examples: [] }), {
      listen: "/ip4/0.0.0.0/tcp/0",
    }).action((options) => void (seen = options));
    const output = { out: () => {}, err: (text: string) => void (complaint += text) };
    return execute(program, ["--run", "r", ...args], output);
  };
  assert.equal(await run(["--relay", RELAY, RELAY, "--upnp"]), 0);
  assert.deepEqual(await nodeSettings(seen!), {
    listen: ["/ip4/0.0.0.0/tcp/0"],
    bootstrap: [],
    relays: [RELAY, RELAY],
    upnp: true,
  });
  assert.equal(await run(["--announce", "/dns4/example.org/tcp/4002"]), 0);
  assert.deepEqual((await nodeSettings(seen!)).announce, ["/dns4/example.org/tcp/4002"]);
  assert.equal(await run(["--announce", "/dns4/example.org/tcp/4002", "--relay", RELAY]), 2);
  assert.match(complaint, /cannot be used with option/);
  assert.equal(await run(["--announce", RELAY]), 2);
});

Deno.test("a swarm key that is not there, or none, is the person's to mend", async () => {
  await assert.rejects(readSwarmKey("/nowhere/swarm.key"), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /there is no such file; deno task swarm-key makes one/);
    return true;
  });
  const path = await Deno.makeTempFile();
  await assert.rejects(readSwarmKey(path), UsageError);
  await Deno.remove(path);
});
