/** What the flags of a command that speaks HTTP may be. It listens to nothing. */

import { InvalidArgumentError } from "commander";

/** Pages that may ask; more is what `*` is for. */
const ORIGINS_MAX = 64;

const PORT_MAX = 65_535;

/** Where HTTP is spoken. */
export interface HttpAddress {
  readonly hostname: string;
  readonly port: number;
}

/** `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`. */
export function httpAddress(value: string): HttpAddress {
  const { name, address, port } =
    /^(?:\[(?<address>[0-9a-fA-F:.]+)\]|(?<name>[\w.-]+)):(?<port>\d{1,5})$/.exec(value)?.groups ?? {};
  if (port === undefined || Number(port) > PORT_MAX) {
    throw new InvalidArgumentError("It must be a host and a port, as 127.0.0.1:8080 is.");
  }
  return { hostname: name ?? address, port: Number(port) };
}

/** As a link. */
export function httpUrl({ hostname, port }: HttpAddress): string {
  return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Where pages come from, one a call, gathered; `*` for anywhere. */
export function pageOrigins(value: string, previous: readonly string[] = []): readonly string[] {
  if (value !== "*" && (!URL.canParse(value) || new URL(value).origin !== value)) {
    throw new InvalidArgumentError(
      "It must be where a page comes from, as https://chat.example.org is, or *.",
    );
  }
  if (previous.length >= ORIGINS_MAX) throw new InvalidArgumentError(`There can be ${ORIGINS_MAX} at most.`);
  return [...previous, value];
}
