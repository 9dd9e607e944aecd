/** A chat with a model that real processes serve: `deno task generate --chat`, as a person or a script starts it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { LocalSwarm } from "../cli/local_swarm.ts";
import { readManifest, readTokenizer } from "../cli/manifest_file.ts";
import { GREEDY } from "../run/mod.ts";
import { importModel, lettersFolder, soloIds, withHosts } from "./served_model.ts";

/** What is said, and by whom, in letters alone. */
const TEMPLATE = "{% for m in messages %}{{ m.role[0] }} {{ m.content }} {% endfor %}a ";

/** The command, whose standard input and output are pipes. */
function startGenerate(...flags: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL("../cli/generate.ts", import.meta.url).pathname, ...flags],
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

const joining = (
  run: string,
  { address }: LocalSwarm,
) => ["--run", run, "--bootstrap", address, "--listen", "/ip4/127.0.0.1/tcp/0"];

async function write(process: Deno.ChildProcess, text: string): Promise<void> {
  const input = process.stdin.getWriter();
  await input.write(new TextEncoder().encode(text));
  input.releaseLock();
}

/** Its standard output as far as a line's end, or as far as it came. */
async function readLine(output: ReadableStreamDefaultReader<string>): Promise<string> {
  let line = "";
  while (!line.endsWith("\n")) {
    const { value, done } = await output.read();
    if (done) break;
    line += value;
  }
  return line;
}

const linesOf = (process: Deno.ChildProcess) =>
  process.stdout.pipeThrough(new TextDecoderStream()).getReader();

Deno.test("a chat over real processes remembers what was said, and ends as it is told to", async () => {
  const folder = await lettersFolder();
  try {
    await Deno.writeTextFile(
      join(folder, "tokenizer_config.json"),
      JSON.stringify({ chat_template: TEMPLATE }),
    );
    const run = await importModel(folder, 2);
    const tokenizer = await readTokenizer(run, await readManifest(run));
    const solo = async (prompt: string) => tokenizer.decode(await soloIds(run, prompt, 20, GREEDY));
    const first = await solo("s be brief u hello a ");
    const second = await solo(
      `s be brief u hello a ${first} u and then a `,
    );
    assert.notEqual(second, await solo("s be brief u and then a "));

    await withHosts({ run, replicas: [1, 1] }, async (swarm) => {
      const flags = [...joining(run, swarm), "--chat", "--temperature", "0"];

      const chat = startGenerate(...flags, "--tokens", "20", "--system", "be brief");
      const answers = linesOf(chat);
      await write(chat, "hello\n");
      assert.equal(await readLine(answers), `${first}\n`);
      await write(chat, "\nand then");
      await chat.stdin.close();
      assert.equal(await readLine(answers), `${second}\n`, "said again with all before it");
      assert.equal(await readLine(answers), "");
      assert.equal(await new Response(chat.stderr).text(), "");
      assert.equal((await chat.status).code, 0);

      const endless = startGenerate(...flags, "--tokens", "1000000");
      await write(endless, "hello\n");
      const output = linesOf(endless);
      const begun = (await output.read()).value!;
      endless.kill("SIGINT");
      const whole = begun + await readLine(output);
      assert.match(whole, /^[a-z ]+\n$/, "a line of its own for whatever comes next");
      assert.equal(await new Response(endless.stderr).text(), "");
      assert.equal((await endless.status).code, 130);
      await endless.stdin.close();
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("flags that make no sense together are named, before anything is begun", async () => {
  const needed = ["--run", "no-such-file"];
  for (
    const [flags, said] of [
      [["--chat", "--prompt", "x"], /option '--chat' cannot be used with option '--prompt <text>'/],
      [["--chat", "--json"], /option '--json' cannot be used with option '--chat'/],
      [["--chat", "--leash"], /option '--chat' cannot be used with option '--leash'/],
      [["--prompt", "x", "--system", "be brief"], /--system is for --chat/],
      [[], /Nothing to go on with: give a text with --prompt, or --chat/],
      [["--chat"], /no-such-file/],
    ] as const
  ) {
    const { code, stdout, stderr } = await startGenerate(...needed, ...flags).output();
    assert.match(new TextDecoder().decode(stderr), said);
    assert.deepEqual([code, stdout.length], [2, 0], String(said));
  }
});
