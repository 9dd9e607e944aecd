import assert from "node:assert/strict";
import { Simulation } from "../core/simulation.ts";
import type { Message } from "../messages.ts";
import { behaviour } from "../role.ts";
import { Watches } from "./watches.ts";

Deno.test("a service is watched until no part of the host wants to hear of it", async () => {
  const simulation = new Simulation({ seed: 1, costs: { durationMs: () => 0, lane: () => undefined } });
  const system = simulation.system<Message>({ peer: "own", transport: () => true });
  const asked: string[] = [];
  system.spawn(behaviour("scout", () => ({ receive: ({ message }) => void asked.push(message.kind) })));
  let watches!: Watches;
  system.spawn(behaviour("host", (context) => {
    watches = new Watches(context);
    return { receive: () => {} };
  }));
  const said = async () => {
    await simulation.run({ untilMs: simulation.clock.nowMs() + 1 });
    return asked.splice(0);
  };
  watches.watch("stage:1", "next", true);
  watches.watch("stage:1", "look", true);
  assert.deepEqual(await said(), ["watch", "watch"], "whoever asks anew is told at once");
  watches.watch("stage:1", "next", false);
  assert.deepEqual(await said(), []);
  watches.watch("stage:1", "look", false);
  assert.deepEqual(await said(), ["unwatch"]);
});
