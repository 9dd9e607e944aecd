import assert from "node:assert/strict";
import { InvalidArgumentError, Option } from "commander";
import fc from "fast-check";
import { command, execute } from "./arguments.ts";
import { decimalNumber, listenAddress, paths, peerAddresses, required, wholeNumber } from "./options.ts";
import { joinOptions } from "./network.ts";

const PEER = "12D3KooWERH5DuK6jgAn9bf3jBtGz7DyTtveqgB3TtW8WTx8AQhR";

Deno.test("whole numbers are read whole or refused", () => {
  const parse = wholeNumber(1, 100);
  fc.assert(fc.property(fc.integer({ min: 1, max: 100 }), (value) => parse(String(value)) === value));
  for (const text of ["0", "101", "-1", "1.5", "1e1", "0x10", " 7", "7 ", "", "seven", "9".repeat(400)]) {
    assert.throws(() => parse(text), InvalidArgumentError, JSON.stringify(text));
  }
});

Deno.test("decimal numbers are finite and read whole", () => {
  const parse = decimalNumber(0);
  assert.deepEqual(["0", "0.8", ".5", "2.", "1e-3"].map(parse), [0, 0.8, 0.5, 2, 0.001]);
  for (const text of ["-0.1", "NaN", "Infinity", "1e999", "0,8", "0.8x", "", "."]) {
    assert.throws(() => parse(text), InvalidArgumentError, JSON.stringify(text));
  }
});

Deno.test("addresses of peers name a port and a peer", () => {
  const good = `/ip4/203.0.113.7/tcp/4001/p2p/${PEER}`;
  assert.deepEqual(peerAddresses(good, []), [good]);
  assert.deepEqual(peerAddresses(`/dns4/example.org/tcp/1/p2p/${PEER}`, [good]).length, 2);
  for (
    const text of [
      "/ip4/203.0.113.7/tcp/4001",
      `/p2p/${PEER}`,
      "203.0.113.7:4001",
      "",
      "/ip4/999.0.0.1/tcp/1",
    ]
  ) {
    assert.throws(() => peerAddresses(text, []), InvalidArgumentError, text);
  }
  assert.throws(() => peerAddresses(good, new Array(64).fill(good)), InvalidArgumentError);
});

Deno.test("addresses to listen on name a port and no peer", () => {
  assert.equal(listenAddress("/ip4/0.0.0.0/tcp/0"), "/ip4/0.0.0.0/tcp/0");
  for (const text of ["/ip4/0.0.0.0", `/ip4/0.0.0.0/tcp/1/p2p/${PEER}`, "/ip4/0.0.0.0/udp/1", "4001"]) {
    assert.throws(() => listenAddress(text), InvalidArgumentError, text);
  }
});

Deno.test("no text from outside makes a parser throw anything but a refusal", () => {
  const parsers = [
    wholeNumber(0),
    decimalNumber(0),
    listenAddress,
    (text: string) => peerAddresses(text, []),
  ];
  fc.assert(fc.property(fc.string(), fc.constantFrom(...parsers), (text, parse) => {
    try {
      parse(text);
    } catch (error) {
      assert.ok(error instanceof InvalidArgumentError);
    }
  }));
});

Deno.test("lists are gathered, and what must be given is asked for after what is misspelt", async () => {
  let seen: Record<string, unknown> = {};
  let complaint = "";
  const run = (args: string[]) => {
    complaint = "";
    const program = required(
      joinOptions(command({ name: "try", summary: "Tries.", examples: [] }), {
        listen: "/ip4/0.0.0.0/tcp/0",
      }),
      new Option("--data <file...>").argParser(paths),
    ).action((options) => void (seen = options));
    return execute(program, args, { out: () => {}, err: (text) => void (complaint += text) });
  };
  const address = `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`;
  assert.equal(
    await run(["--run", "r", "--data", "a", "b", "--bootstrap", address, address, "--data", "c"]),
    0,
  );
  assert.deepEqual([seen.data, seen.bootstrap, seen.logLevel], [["a", "b", "c"], [address, address], "info"]);
  assert.equal(await run(["--run", "r"]), 2);
  assert.match(complaint, /required option '--data <file...>' not specified/);
  assert.equal(await run(["--runn", "r", "--data", "a"]), 2);
  assert.match(complaint, /unknown option '--runn'/);
});
