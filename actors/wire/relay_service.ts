/**
 * Relays for peers that nobody can dial, while this node is told to. libp2p's
 * relay does the work; what is added is a switch, and back-pressure: left alone,
 * it reads from the fast end of a relayed connection for as long as there is
 * anything, and keeps in memory what the slow end has not taken.
 */

import {
  circuitRelayServer,
  type CircuitRelayServerComponents,
  type CircuitRelayService,
} from "@libp2p/circuit-relay-v2";
import type { Connection, Startable, Stream, StreamMessageEvent } from "@libp2p/interface";
import {
  RELAY_BYTES_MAX,
  RELAY_HELD_BYTES_MAX,
  RELAY_MS_MAX,
  RELAY_RESERVATIONS_MAX,
  RELAY_STREAMS_MAX,
} from "../limits.ts";

/** What a relay allows each connection that it carries. */
export interface RelayLimits {
  /** Both directions together. */
  readonly bytes: bigint;
  readonly milliseconds: number;
  /** Peers that it carries for at once. */
  readonly reservations: number;
}

/** Of {@link RelayService}, unless told otherwise. */
export const RELAY_LIMITS: RelayLimits = {
  bytes: BigInt(RELAY_BYTES_MAX),
  milliseconds: RELAY_MS_MAX,
  reservations: RELAY_RESERVATIONS_MAX,
};

/** Offers to relay, or not. */
export interface RelayService {
  /** How many peers are reached through this node. */
  readonly reservations: number;
  /** Changes whether this node relays. What it carries at the moment ends when it stops. */
  offer(offered: boolean): Promise<void>;
}

/** The service, for libp2p's `services`. It offers nothing before it is told to. */
export function relayService(
  limits: RelayLimits,
): (components: CircuitRelayServerComponents) => RelayService {
  return (components) => {
    const make = () =>
      withBackPressure(
        circuitRelayServer({
          maxInboundHopStreams: RELAY_STREAMS_MAX,
          maxOutboundStopStreams: RELAY_STREAMS_MAX,
          reservations: {
            maxReservations: limits.reservations,
            defaultDataLimit: limits.bytes,
            defaultDurationLimit: limits.milliseconds,
          },
        })(components) as Server,
      );
    let server: Server | undefined;
    return {
      get reservations() {
        return server?.reservations.size ?? 0;
      },
      async offer(offered) {
        if (offered === (server !== undefined)) return;
        if (!offered) {
          const stopping = server;
          server = undefined;
          await stopping?.stop();
          return;
        }
        // A server that was stopped never relays again.
        server = make();
        await server.start();
      },
    };
  };
}

/** What the library's server has beyond its type, and is public in its code. */
interface Server extends CircuitRelayService, Startable {
  /** Answers a peer that wants to be carried for, or carried to another. */
  onHop(near: Stream, connection: Connection): Promise<void>;
  /** Opens the stream to that other. */
  stopHop(stop: unknown, options: unknown): Promise<Stream | undefined>;
}

/** Ties the two streams of each relayed connection to each other, once the library copies between them. */
function withBackPressure(server: Server): Server {
  const { onHop, stopHop } = Object.getPrototypeOf(server) as Server;
  server.onHop = async (near, connection) => {
    let far: Stream | undefined;
    const forThisOne: Server = Object.create(server, {
      stopHop: {
        value: async (stop: unknown, options: unknown) => far = await stopHop.call(server, stop, options),
      },
    });
    await onHop.call(forThisOne, near, connection);
    // Not before: what already waits is given to whoever listens first, and to nobody after.
    if (far === undefined) return;
    holdBack(near, far);
    holdBack(far, near);
  };
  return server;
}

/** Stops reading from one stream while too much of what it said waits for the other to take it. */
export function holdBack(from: Stream, to: Stream): void {
  let heldBytes = 0;
  const send = to.send.bind(to);
  from.addEventListener("message", ({ data }: StreamMessageEvent) => {
    heldBytes += data.byteLength;
    if (heldBytes > RELAY_HELD_BYTES_MAX && from.readStatus === "readable") from.pause();
  });
  to.send = (data) => {
    // Some of it may have come before anybody counted.
    heldBytes = Math.max(0, heldBytes - data.byteLength);
    const room = send(data);
    if (heldBytes <= RELAY_HELD_BYTES_MAX / 2 && from.readStatus === "paused") from.resume();
    return room;
  };
}
