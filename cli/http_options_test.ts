import assert from "node:assert/strict";
import { httpAddress, httpUrl, pageOrigins } from "./http_options.ts";

Deno.test("an address is a host and a port, and nothing is guessed", () => {
  assert.deepEqual(httpAddress("127.0.0.1:8080"), { hostname: "127.0.0.1", port: 8080 });
  assert.deepEqual(httpAddress("[::1]:0"), { hostname: "::1", port: 0 });
  assert.deepEqual(httpAddress("localhost:65535"), { hostname: "localhost", port: 65535 });
  for (
    const wrong of [
      "8080",
      ":8080",
      "localhost",
      "::1:80",
      "a:65536",
      "a:-1",
      "http://a:80",
      "/ip4/1.2.3.4/tcp/1",
    ]
  ) {
    assert.throws(() => httpAddress(wrong), /host and a port/, wrong);
  }
});

Deno.test("an address becomes a link again", () => {
  assert.equal(httpUrl(httpAddress("[::1]:80")), "http://[::1]:80");
  assert.equal(httpUrl(httpAddress("127.0.0.1:8080")), "http://127.0.0.1:8080");
});

Deno.test("a page comes from a scheme, a host and a port alone", () => {
  assert.deepEqual(pageOrigins("https://a.example", ["*"]), ["*", "https://a.example"]);
  for (const wrong of ["a.example", "https://a.example/", "https://a.example/x", "null", ""]) {
    assert.throws(() => pageOrigins(wrong), /where a page comes from/, wrong);
  }
  assert.throws(() => pageOrigins("*", Array(64).fill("*")), /64 at most/);
});
