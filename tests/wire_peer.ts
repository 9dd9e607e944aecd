/**
 * A peer that does as it is told, in a process of its own, so that a test can
 * have it live elsewhere: says in JSON lines what happens to it, and reads from
 * standard input, as JSON lines, what to send to whom. It runs no role.
 */

import { createInterface } from "node:readline";
import process from "node:process";
import { RealClock } from "../actors/core/real_clock.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { Libp2pWire } from "../actors/wire/libp2p_wire.ts";
import { openNode } from "../cli/peer.ts";

/** How it is started: the one argument, as JSON. */
export interface WirePeerTask {
  readonly listen: readonly string[];
  readonly bootstrap: readonly string[];
}

/** What it is told to do. */
export interface WirePeerOrder {
  readonly to: string;
  /** Where that peer is. */
  readonly addresses: readonly string[];
  readonly name: string;
  readonly bytes: number;
}

/** What it says. */
export type WirePeerEvent =
  | {
    readonly kind: "reach";
    readonly reach: string;
    readonly peer: string;
    readonly addresses: readonly string[];
  }
  | { readonly kind: "path"; readonly path: "relayed" | "direct"; readonly peer: string }
  | { readonly kind: "frame"; readonly from: string; readonly name: string; readonly bytes: number }
  | { readonly kind: "lost"; readonly peer: string; readonly reason: string };

async function live({ listen, bootstrap }: WirePeerTask): Promise<void> {
  const identity = await createIdentity();
  const node = await openNode({
    identity,
    listen,
    bootstrap,
    onReach: (reach, { addresses }) =>
      say({ kind: "reach", reach, peer: identity.peer, addresses: addresses() }),
    onPath: (peer, path) => say({ kind: "path", path, peer }),
  });
  const wire = new Libp2pWire(node, new RealClock());
  wire.open({
    onFrame: (from, { header, tensors: [tensor] }) =>
      say({ kind: "frame", from, name: String(header), bytes: tensor?.bytes.byteLength ?? 0 }),
    onLost: (peer, reason) => say({ kind: "lost", peer, reason }),
  });
  for await (const line of createInterface({ input: process.stdin })) {
    const { to, addresses, name, bytes }: WirePeerOrder = JSON.parse(line);
    wire.addAddresses(to, addresses);
    wire.send(to, {
      header: name,
      tensors: bytes === 0 ? [] : [{ dataType: "u8", shape: [bytes], bytes: new Uint8Array(bytes) }],
    });
  }
}

function say(event: WirePeerEvent): void {
  console.log(JSON.stringify(event));
}

if (import.meta.main) {
  await live(JSON.parse(Deno.args[0]!));
  Deno.exit();
}
