import assert from "node:assert/strict";
import { patiently, startNode, TestClock } from "./fixtures/peers.ts";
import type { Libp2pNode } from "./libp2p_node.ts";

function connected(node: Libp2pNode): Promise<unknown> {
  return patiently(() =>
    new Promise((resolve) => node.libp2p.addEventListener("peer:identify", resolve, { once: true }))
  );
}

Deno.test("a port in use is named", async () => {
  const first = await startNode();
  const address = first.addresses()[0].split("/p2p/")[0];
  await assert.rejects(startNode({ listen: [address] }), {
    message: `Cannot listen on ${address}: the port is in use by another process`,
  });
  await first.close();
});

Deno.test("an address that is not this machine's is named", async () => {
  await assert.rejects(
    startNode({ listen: ["/ip4/192.0.2.1/tcp/0"] }),
    /Cannot listen on .*not this machine's/,
  );
});

Deno.test("an address that does not parse is named", async () => {
  for (const role of ["listen", "bootstrap", "announce"] as const) {
    await assert.rejects(startNode({ [role]: ["127.0.0.1:4001"] }), /Cannot read address "127.0.0.1:4001"/);
  }
});

Deno.test("a bootstrap peer that is down at first is found once it is up, and again when it comes back", async () => {
  const placeholder = await startNode();
  const address = placeholder.addresses()[0].split("/p2p/")[0];
  await placeholder.close();

  const clock = new TestClock();
  const failed = Promise.withResolvers<string>();
  const node = await startNode({
    bootstrap: [address],
    clock,
    onBootstrapFailure: (address, reason) => failed.resolve(`${address}: ${reason}`),
  });
  assert.match(await patiently(() => failed.promise), /ECONNREFUSED/);
  for (let life = 0; life < 2; life++) {
    const bootstrap = await startNode({ listen: [address] });
    const found = connected(node);
    await clock.pass(clock.nowMs() + 500);
    await found;
    await bootstrap.close();
  }
  await node.close();
});

Deno.test("a router that does not answer, or is none, holds nothing up", async () => {
  const node = await startNode({ upnp: true, listen: ["/ip4/0.0.0.0/tcp/0"] });
  assert.ok(node.addresses().length > 0);
  await patiently(() => node.close());
});

Deno.test("a node says where it is, and what it announces instead", async () => {
  const announced = "/dns4/example.org/tcp/4001";
  const node = await startNode({ announce: [announced] });
  assert.deepEqual(node.addresses(), [`${announced}/p2p/${node.peer}`]);
  await node.close();
});
