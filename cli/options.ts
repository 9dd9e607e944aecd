/**
 * What the values of flags may be, and the flags that several commands share.
 * It refuses whatever it can't read whole: no value is guessed, cut or clamped.
 */

import { multiaddr } from "@multiformats/multiaddr";
import { type Command, InvalidArgumentError, Option } from "commander";
import { DEVICE_NAMES } from "../stages/mod.ts";

/** Devices that a person can ask for. `auto` takes the fastest that works here. */
const DEVICES = ["auto", ...DEVICE_NAMES] as const;
/** See {@link deviceOption}. */
export type DeviceChoice = (typeof DEVICES)[number];

/** Addresses that one flag can name: more than any list that a person pastes. */
const ADDRESSES_MAX = 64;

/** Whole number of at least `least`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= least && value <= most) {
      return value;
    }
    throw new InvalidArgumentError(
      most === Number.MAX_SAFE_INTEGER
        ? `It must be a whole number of at least ${least}.`
        : `It must be a whole number from ${least} to ${most}.`,
    );
  };
}

/** Finite decimal number of at least `least`. */
export function decimalNumber(least: number): (text: string) => number {
  return (text) => {
    const value = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (Number.isFinite(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a number of at least ${least}.`);
  };
}

/** Text that is not empty. */
export function text(value: string): string {
  if (value !== "") return value;
  throw new InvalidArgumentError("It must not be empty.");
}

/** Paths of files, one a call, gathered. */
export function paths(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...previous ?? [], text(value)];
}

/** An address to listen on: `/ip4/0.0.0.0/tcp/4001`. Port 0 takes any free one. */
export function listenAddress(value: string): string {
  const names = protocols(value);
  if (!names.includes("tcp")) {
    throw new InvalidArgumentError("It must name a TCP port, as /ip4/0.0.0.0/tcp/4001 does.");
  }
  if (names.includes("p2p")) {
    throw new InvalidArgumentError(
      "It must not name a peer (leave out /p2p/…): a peer listens under its own name.",
    );
  }
  return value;
}

/** Addresses that others can dial, one a call, gathered. */
export function listenAddresses(value: string, previous: readonly string[] | undefined): readonly string[] {
  return gather(listenAddress(value), previous);
}

/** Addresses of peers, one a call, gathered: `/ip4/203.0.113.7/tcp/4001/p2p/12D3KooW…`. */
export function peerAddresses(value: string, previous: readonly string[] | undefined): readonly string[] {
  const names = protocols(value);
  if (!names.includes("tcp") || names.at(-1) !== "p2p") {
    throw new InvalidArgumentError(
      "It must name a TCP port and end with the peer's name, as /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW… does.",
    );
  }
  return gather(value, previous);
}

function gather(value: string, previous: readonly string[] = []): readonly string[] {
  if (previous.length >= ADDRESSES_MAX) {
    throw new InvalidArgumentError(`There can be ${ADDRESSES_MAX} at most.`);
  }
  return [...previous, value];
}

function protocols(value: string): string[] {
  try {
    return multiaddr(value).getComponents().map((component) => component.name);
  } catch {
    throw new InvalidArgumentError("It must be a multiaddr, as /ip4/203.0.113.7/tcp/4001 is.");
  }
}

/** How much is told on standard error. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;
/** See {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `--run`, which must be given: see {@link required}. */
export function runOption(): Option {
  return new Option("--run <file>", "manifest of the run, a JSON file").argParser(text);
}

/**
 * Adds an option that must be given. Commander's own way complains of the one
 * that is missing before the one that is misspelt, which is the one to mend.
 */
export function required(command: Command, option: Option): Command {
  return command.addOption(option).hook("preAction", () => {
    if (command.getOptionValue(option.attributeName()) !== undefined) return;
    command.error(`error: required option '${option.flags}' not specified`);
  });
}

/** `--bootstrap`. */
export function bootstrapOption(): Option {
  return new Option("--bootstrap <multiaddr...>", "a peer that is up already; give several if you know them")
    .argParser(peerAddresses).default([], "none");
}

/** `--log-level`. */
export function logLevelOption(): Option {
  return new Option("--log-level <level>", "how much is told on standard error")
    .choices(LOG_LEVELS).default("info");
}

/** `--device`. */
export function deviceOption(): Option {
  return new Option(
    "--device <device>",
    "what computes; auto measures those that work here, and deno task devices lists them",
  ).choices(DEVICES).default("auto");
}

/** `--leash`: for a program that starts this one; a person has no use for it. */
export function leashOption(): Option {
  return new Option("--leash", "end when standard input does").hideHelp();
}
