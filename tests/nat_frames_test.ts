/**
 * Who can reach whom, and how: two peers in homes whose routers let nobody in, and
 * one that anybody can dial. The first two meet through a relay and stay there, for
 * TCP finds no way through two routers; the third is dialled back.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import { within } from "../actors/wire/time_bound.ts";
import { Child } from "../cli/child.ts";
import type { Place } from "../cli/local_swarm.ts";
import { Homes } from "./routers.ts";
import type { WirePeerEvent, WirePeerOrder, WirePeerTask } from "./wire_peer.ts";

const MEGABYTE = 1_000_000;
/** AutoNAT waits some seconds before it asks; only a test that would fail waits for all of this. */
const PATIENCE_MS = 90_000;

const clock = new RealClock();
const obstacle = await Homes.obstacle();

/** A peer in its process, and what it has said so far. */
class Told {
  readonly events: WirePeerEvent[] = [];
  readonly #child: Child;
  #more = Promise.withResolvers<void>();

  constructor(child: Child) {
    this.#child = child;
    this.#read();
  }

  /** The first thing that it said, or will say, of which this holds. */
  until(wanted: (event: WirePeerEvent) => boolean): Promise<WirePeerEvent> {
    return within(clock, PATIENCE_MS, async () => {
      while (true) {
        const found = this.events.find(wanted);
        if (found !== undefined) return found;
        await this.#more.promise;
      }
    });
  }

  /** Waits until it is reached like this. @returns who it is, and where. */
  async reached(reach: string): Promise<{ readonly to: string; readonly addresses: readonly string[] }> {
    const event = await this.until((event) => event.kind === "reach" && event.reach === reach);
    assert(event.kind === "reach");
    return { to: event.peer, addresses: event.addresses };
  }

  tell(order: WirePeerOrder): Promise<void> {
    return this.#child.tell(JSON.stringify(order));
  }

  async #read(): Promise<void> {
    for await (const line of this.#child.lines()) {
      this.events.push(JSON.parse(line));
      this.#more.resolve();
      this.#more = Promise.withResolvers();
    }
  }
}

Deno.test({
  name: `peers behind routers meet through a relay, and dial back whom they can${
    obstacle === undefined ? "" : ` (left out: ${obstacle})`
  }`,
  ignore: obstacle !== undefined,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "murmuration-nat-frames-" });
    try {
      await using homes = await Homes.open(2);
      await using children = new AsyncDisposableStack();
      const start = (program: string, args: readonly string[], { through }: Place) =>
        children.use(
          Child.start(new URL(program, import.meta.url), args, join(folder, "log"), clock, through),
        );
      const listen = ({ ip }: Place) => `/ip4/${ip}/tcp/0`;
      const introducer = start("../cli/bootstrap.ts", [
        "--leash",
        ...["--listen", listen(homes.internet), "--data-dir", join(folder, "bootstrap")],
      ], homes.internet);
      const { value: address } = await introducer.lines().next();
      assert(address !== undefined, await Deno.readTextFile(join(folder, "log")));
      const peer = (place: Place) => {
        const task: WirePeerTask = { listen: [listen(place)], bootstrap: [address] };
        return new Told(start("./wire_peer.ts", [JSON.stringify(task)], place));
      };
      const [one, two, open] = [peer(homes.home(0)), peer(homes.home(1)), peer(homes.internet)];
      const frame = (name: string) => (event: WirePeerEvent) => event.kind === "frame" && event.name === name;
      const path = (path: string, { to }: { to: string }) => (event: WirePeerEvent) =>
        event.kind === "path" && event.path === path && event.peer === to;

      const [atOne, atTwo] = [await one.reached("relayed"), await two.reached("relayed")];
      await one.tell({ ...atTwo, name: "small", bytes: 0 });
      await one.tell({ ...atTwo, name: "large", bytes: MEGABYTE });
      await two.until(frame("small"));
      await two.until(frame("large"));
      await two.tell({ ...atOne, name: "back", bytes: MEGABYTE });
      await one.until(frame("back"));

      const atOpen = await open.reached("direct");
      assert(!atOpen.addresses.some((address) => address.includes("p2p-circuit")));
      await open.tell({ ...atOne, name: "called", bytes: MEGABYTE });
      await one.until(frame("called"));
      await one.until(path("relayed", atOpen));
      await one.until(path("direct", atOpen));
      await open.until(path("direct", atOne));

      // What arrived stayed: nothing began on a connection that was about to be replaced.
      for (const { events } of [one, two, open]) {
        assert.deepEqual(events.filter(({ kind }) => kind === "lost"), []);
      }
      assert(!two.events.some(path("direct", atOne)), "nobody dials into two homes");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
