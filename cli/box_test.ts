import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { type Box, boxArguments, HOME_DIRECTORY, REPOSITORY, startInBox } from "./box.ts";
import { UsageError } from "./arguments.ts";
import { WGSL_DEVICES } from "../kernels/testing/devices.ts";
import { driverFor, underDriver } from "../kernels/testing/drivers.ts";

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-box-" }));
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

const program = new URL("./fixtures/box_prober.ts", import.meta.url);

Deno.test("a box reaches the network, its data and its native parts, and nothing else", async () => {
  await using folder = await temporaryFolder();
  const secret = join(folder.path, "secret");
  await Deno.writeTextFile(secret, '"the secret"');
  const dataDirectory = join(folder.path, "data of mine");
  await Deno.mkdir(dataDirectory);
  Deno.env.set("MURMURATION_TEST_SECRET", "the secret");

  const args = [dataDirectory, secret, fileURLToPath(program)];
  const child = await startInBox({
    program,
    args,
    dataDirectory,
    readable: [],
  }, {
    stdout: "piped",
    stderr: "inherit",
  });
  const { stdout } = await child.output();
  const report = JSON.parse(new TextDecoder().decode(stdout));

  assert.deepEqual(report.outcomes, {
    "write own data": "worked",
    "read own data": "worked",
    "dial and listen": "worked",
    "load ONNX Runtime": "worked",
    "load Dawn": "worked",
    "encode CBOR": "worked",
    "read a secret": "NotCapable",
    "read a secret through ..": "NotCapable",
    "import a secret": "TypeError",
    "read the system's users": "NotCapable",
    "read its own environment": "NotCapable",
    "write outside": "NotCapable",
    "make a link": "NotCapable",
    "make a hard link": "NotCapable",
    "rewrite the code": "NotCapable",
    "start a program": "NotCapable",
    "load a library of its own": "NotCapable",
    "import from the network": "TypeError",
    "read the host's name": "NotCapable",
  });
  assert.equal(report.secretVariable, null);
  assert.equal(await Deno.readTextFile(secret), '"the secret"');
  assert.equal(await Deno.readTextFile(join(dataDirectory, "written")), "mine");
});

const driver = await driverFor(new URL("../kernels/testing/dawn_probe.ts", import.meta.url));
const found = WGSL_DEVICES.filter(({ open }) => open !== undefined);

Deno.test({
  name: "a stage's thread in a box finds the GPUs that are found outside of it",
  ignore: found.length === 0,
  async fn() {
    await using folder = await temporaryFolder();
    const box: Box = {
      program: new URL("./fixtures/gpu_prober.ts", import.meta.url),
      args: [],
      dataDirectory: folder.path,
      readable: [],
    };
    const start = () => startInBox(box, { stdout: "piped", stderr: "inherit" });
    const child = await (driver === undefined ? start() : underDriver(driver, start));
    const outcomes = JSON.parse(new TextDecoder().decode((await child.output()).stdout));
    for (const { name } of found) {
      assert.equal(outcomes[name.includes("dawn") ? "dawn" : "navigator"], "worked", name);
    }
  },
});

Deno.test("each thread's room for young objects is bounded in a box", async () => {
  await using folder = await temporaryFolder();
  const box: Box = {
    program: new URL("./fixtures/heap_prober.ts", import.meta.url),
    args: [],
    dataDirectory: folder.path,
    readable: [],
  };
  const child = await startInBox(box, { stdout: "piped", stderr: "inherit" });
  const bytes = JSON.parse(new TextDecoder().decode((await child.output()).stdout));
  for (const thread of ["main", "worker"]) {
    assert.ok(bytes[thread] > 0 && bytes[thread] <= 16 * 2 ** 20, `${thread}: ${bytes[thread]} bytes`);
  }
});

Deno.test("a path that a comma would part in two is refused", async () => {
  await using folder = await temporaryFolder();
  const dataDirectory = join(folder.path, "a,b");
  await Deno.mkdir(dataDirectory);
  await assert.rejects(boxArguments({ program, args: [], dataDirectory, readable: [] }), UsageError);
});

Deno.test("a folder from which code could be rewritten is refused", async () => {
  await Deno.mkdir(HOME_DIRECTORY, { recursive: true });
  const box = (dataDirectory: string): Box => ({
    program,
    args: [],
    dataDirectory,
    readable: [],
  });
  for (
    const folder of [
      "/",
      REPOSITORY,
      join(REPOSITORY, ".."),
      join(REPOSITORY, "cli"),
      join(REPOSITORY, "node_modules"),
    ]
  ) {
    await assert.rejects(boxArguments(box(folder)), UsageError, folder);
  }
  await assert.rejects(boxArguments(box(join(HOME_DIRECTORY, "missing"))), /there is no/);
  await boxArguments(box(HOME_DIRECTORY));
});
