/**
 * The process in the middle of a bad network: it reads what the machines send,
 * loses some of it, keeps the rest for as long as it would be under way, and
 * hands it over. One loop and nothing beside it, so that packets are on time.
 *
 * Its argument is a {@link RouterTask}; its output is the names of its devices,
 * one line of JSON; its input is lines of JSON, each the groups that the network
 * is cut into from then on. It ends with its input.
 */

import { RealClock } from "../../actors/core/real_clock.ts";
import { SeededEntropy } from "../../actors/core/seeded_entropy.ts";
import { Between, type Impairment } from "./between.ts";
import { Tunnels } from "./tunnel.ts";

/** What the process is to be; JSON, so a rate without a limit is left out. */
export interface RouterTask extends Omit<Impairment, "bitsPerSecond"> {
  readonly machines: number;
  readonly bitsPerSecond?: number;
  /** Of what is lost. */
  readonly seed: number;
}

/** Looked up again at the latest after this, though nothing may have come. */
const WAIT_MS_MAX = 1000;

/** Machine 0 has 10.77.0.1. */
export const addressOf = (machine: number): string => `10.77.0.${machine + 1}`;

/** Whom an IPv4 packet is for; `undefined` for all others, and for whom there is none. */
function receiverOf(packet: Uint8Array): number | undefined {
  const ours = packet.length >= 20 && packet[0]! >> 4 === 4 && packet[16] === 10 && packet[17] === 77 &&
    packet[18] === 0;
  return ours ? packet[19]! - 1 : undefined;
}

function route(task: RouterTask): void {
  const clock = new RealClock();
  const between = new Between(
    task.machines,
    { ...task, bitsPerSecond: task.bitsPerSecond ?? Infinity },
    new SeededEntropy(task.seed),
  );
  using tunnels = new Tunnels(task.machines);
  console.log(JSON.stringify(tunnels.names));
  const decoder = new TextDecoder();
  let rest = "";
  while (true) {
    const waitMs = Math.max(0, Math.min(WAIT_MS_MAX, Math.ceil(between.dueMs - clock.nowMs())));
    if (tunnels.wait(waitMs)) {
      const input = tunnels.input();
      if (input.length === 0) return;
      const lines = (rest + decoder.decode(input, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) between.cut(JSON.parse(line));
    }
    const nowMs = clock.nowMs();
    for (let machine = 0; machine < task.machines; machine++) {
      for (let packet; (packet = tunnels.read(machine)) !== undefined;) {
        const to = receiverOf(packet);
        if (to !== undefined) between.send(nowMs, machine, to, packet);
      }
    }
    between.deliver(clock.nowMs(), (to, packet) => tunnels.write(to, packet));
  }
}

if (import.meta.main) route(JSON.parse(Deno.args[0]!));
