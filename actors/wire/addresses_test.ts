import assert from "node:assert/strict";
import { multiaddr } from "@multiformats/multiaddr";
import fc from "fast-check";
import { PEER_ADDRESSES_MAX } from "../limits.ts";
import {
  isPublic,
  isPublicAndDirect,
  isRelayed,
  leadsSomewhere,
  type LocalNetwork,
  scopeOf,
  worthTelling,
} from "./addresses.ts";

const PEER = "16Uiu2HAmEc2z44RDoYx6hHxHPHkCaSZotTE47fz3DGqzYrT75oZw";
const PUBLIC = "/ip4/93.184.216.34/tcp/4001";
const PUBLIC_6 = "/ip6/2606:2800:220:1::1/tcp/4001";
const NAME = "/dns4/example.org/tcp/4001";
const LAN = "/ip4/192.168.1.7/tcp/4001";
const LOOPBACK = "/ip4/127.0.0.1/tcp/4001";
const RELAYED = `${PUBLIC}/p2p/${PEER}/p2p-circuit`;
const RELAYED_AT_HOME = `${LAN}/p2p/${PEER}/p2p-circuit`;

Deno.test("addresses are public where strangers can dial them, and relayed where a relay is named", () => {
  for (const text of [PUBLIC, PUBLIC_6, NAME]) {
    assert.ok(isPublicAndDirect(multiaddr(text)), text);
    assert.ok(!isRelayed(multiaddr(text)), text);
  }
  const atHome = [
    LAN,
    LOOPBACK,
    "/ip4/100.64.0.1/tcp/1",
    "/ip6/::1/tcp/1",
    "/ip6/fe80::1/tcp/1",
    "/dns4/localhost/tcp/1",
  ];
  for (const text of [...atHome, "/p2p-circuit", RELAYED_AT_HOME]) {
    assert.ok(!isPublic(multiaddr(text)), text);
  }
  assert.ok(isPublic(multiaddr(RELAYED)) && !isPublicAndDirect(multiaddr(RELAYED)));
  assert.ok(isRelayed(multiaddr(RELAYED)) && isRelayed(multiaddr(RELAYED_AT_HOME)));
});

Deno.test("one public meeting point makes a swarm public; none leaves it private", () => {
  assert.equal(scopeOf([]), "private");
  assert.equal(scopeOf([LAN, LOOPBACK].map((text) => multiaddr(text))), "private");
  assert.equal(scopeOf([LAN, NAME].map((text) => multiaddr(text))), "public");
});

Deno.test("others are told the best addresses first, and a relay only for want of a public one", () => {
  const told = (...texts: string[]) => worthTelling(texts.map((text) => multiaddr(text))).map(String);
  assert.deepEqual(told(LOOPBACK, LAN, RELAYED, PUBLIC), [PUBLIC, LAN]);
  assert.deepEqual(told(LOOPBACK, LAN, RELAYED_AT_HOME, RELAYED), [RELAYED, LAN]);
  assert.deepEqual(told(LAN, RELAYED_AT_HOME), [RELAYED_AT_HOME, LAN]);
  assert.deepEqual(told(LOOPBACK), []);
  const many = Array.from({ length: 40 }, (_, port) => `/ip4/10.0.0.1/tcp/${port + 1}`);
  assert.equal(told(...many, PUBLIC).length, PEER_ADDRESSES_MAX);
  assert.equal(told(...many, PUBLIC)[0], PUBLIC);
});

Deno.test("a stranger's private address is dialled only where it may be a neighbour's", () => {
  const networks: LocalNetwork[] = [
    { family: "IPv4", address: "127.0.0.1", netmask: "255.0.0.0" },
    { family: "IPv4", address: "192.168.1.2", netmask: "255.255.255.0" },
    { family: "IPv6", address: "fe80::2", netmask: "ffff:ffff:ffff:ffff::" },
  ];
  const leads = (text: string) => leadsSomewhere(multiaddr(text), () => networks);
  for (const text of [PUBLIC, PUBLIC_6, NAME, LAN, RELAYED, RELAYED_AT_HOME]) assert.ok(leads(text), text);
  for (const text of ["/ip4/192.168.2.7/tcp/1", "/ip4/10.0.0.1/tcp/1", LOOPBACK, "/ip6/fe80::1/tcp/1"]) {
    assert.ok(!leads(text), text);
  }
  assert.ok(!leadsSomewhere(multiaddr(LAN), () => []));
});

Deno.test("a neighbour is whoever shares the network's bits", () => {
  fc.assert(fc.property(fc.nat(255), fc.nat(255), fc.integer({ min: 8, max: 31 }), (third, fourth, bits) => {
    const mask = (0xffffffff << (32 - bits)) >>> 0;
    const dotted = [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join(".");
    const network: LocalNetwork = { family: "IPv4", address: "10.0.37.200", netmask: dotted };
    const number = (a: number, b: number) => ((10 << 24) | (a << 8) | b) >>> 0;
    const same = ((number(third, fourth) & mask) >>> 0) === ((number(37, 200) & mask) >>> 0);
    assert.equal(leadsSomewhere(multiaddr(`/ip4/10.0.${third}.${fourth}/tcp/1`), () => [network]), same);
  }));
});
