import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { dataOf } from "./page/events.js";
import { EngineUnavailable } from "./engine.ts";
import { BROWSER_PATH, openBrowser, PATIENCE_MS } from "./testing/browser.ts";
import { END_TOKEN, untilAborted } from "./testing/fake_engine.ts";
import { serve, type Served } from "./testing/served.ts";

const KEY = "sk-page-0123456789";

/** What is said, and then the end. */
const said = (text: string) => [...new TextEncoder().encode(text), END_TOKEN];

/** Shows the page in a browser; fails on whatever the browser complains of. */
async function shown(served: Served, play: (page: Page) => Promise<void>): Promise<void> {
  const browser = await openBrowser();
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (line) => {
      // Each refusal of ours is told there as well.
      if (line.type() === "error" && !/status of (400|401|503)/.test(line.text())) {
        complaints.push(line.text());
      }
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${served.origin}/`)) complaints.push(`asked ${request.url()}`);
    });
    await page.goto(served.origin);
    await page.waitForSelector("#model");
    await play(page);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

function inBrowser(name: string, play: () => Promise<void>): void {
  // The browser's driver keeps timers and sockets of its own for a moment after it has ended.
  Deno.test({
    name: BROWSER_PATH ? name : `${name} (needs Chromium)`,
    ignore: BROWSER_PATH === undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: play,
  });
}

const textOf = (page: Page, selector: string) => page.$eval(selector, (element) => element.textContent ?? "");

async function say(page: Page, text: string): Promise<void> {
  await page.waitForSelector("#model:not(:disabled)");
  await page.type("#message", text);
  await page.keyboard.press("Enter");
}

inBrowser("a chat by keyboard: streamed, remembered, with a system prompt and a temperature", async () => {
  await using served = await serve();
  const { engine } = served;
  const prompts: string[] = [];
  const go = Promise.withResolvers<void>();
  engine.reply = (prompt) => {
    prompts.push(prompt);
    return said(" Hello, 🦜!");
  };
  engine.pause = (place, signal) =>
    place < 6 ? Promise.resolve() : Promise.race([go.promise, untilAborted(signal)]);
  await shown(served, async (page) => {
    assert.equal(await page.evaluate("document.activeElement.id"), "message");
    await page.click("#settings-button");
    await page.type("#system", "Be kind.");
    await page.type("#tokens", "50");
    await page.focus("#temperature");
    await page.keyboard.press("Home");
    await page.click("#settings-button");
    await say(page, "Hi");
    // The answer is seen before it is whole, and the question is in its place.
    await page.waitForFunction("document.querySelector('.assistant .text')?.textContent === 'Hello'");
    assert.equal(await textOf(page, ".user .text"), "Hi");
    assert.equal(
      await page.$eval("#stop", (button) => (button as unknown as { hidden: boolean }).hidden),
      false,
    );
    go.resolve();
    await page.waitForSelector(".assistant:not(.pending)");
    assert.equal(await textOf(page, ".assistant .text"), "Hello, 🦜!");
    assert.equal(await textOf(page, ".assistant .note"), "14 tokens");
    await say(page, "And?");
    await page.waitForFunction("document.querySelectorAll('.assistant:not(.pending)').length === 2");
  });
  assert.equal(prompts[0], "System: Be kind.\nUser: Hi\nAssistant:");
  assert.equal(prompts[1], "System: Be kind.\nUser: Hi\nAssistant: Hello, 🦜!\nUser: And?\nAssistant:");
  assert.deepEqual(engine.asked.map(({ sampling, tokensMax }) => [sampling.temperature, tokensMax]), [
    [0, 50],
    [0, 50],
  ]);
});

inBrowser("an answer is shown as text, whatever it is", async () => {
  await using served = await serve();
  const text = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>&amp;";
  served.engine.reply = () => said(text);
  await shown(served, async (page) => {
    await say(page, "<b>Hi</b>");
    await page.waitForSelector(".assistant:not(.pending)");
    assert.equal(await textOf(page, ".assistant .text"), text);
    assert.equal(await textOf(page, ".user .text"), "<b>Hi</b>");
    assert.equal(await page.$("#log img, #log script, #log b"), null);
    assert.equal(await page.title(), "Murmuration");
  });
});

inBrowser("Escape, and the button, stop an answer, free its session and keep what was said", async () => {
  await using served = await serve();
  const { engine } = served;
  engine.reply = () => said("Once upon a time");
  engine.pause = (place, signal) => place < 4 ? Promise.resolve() : untilAborted(signal);
  await shown(served, async (page) => {
    for (const [index, stop] of [() => page.keyboard.press("Escape"), () => page.click("#stop")].entries()) {
      await say(page, "Tell me");
      await page.waitForFunction(
        `document.querySelectorAll('.assistant .text')[${index}]?.textContent === 'Once'`,
      );
      await stop();
      await engine.whenActive(0);
      await page.waitForFunction(`document.querySelectorAll('.assistant .note').length === ${index + 1}`);
    }
    assert.equal(await textOf(page, ".assistant:last-child .note"), "Stopped");
  });
  assert.deepEqual(served.bugs, []);
});

inBrowser(
  "a gateway with keys asks for one, and is content with it for as long as the tab is open",
  async () => {
    await using served = await serve({ keys: [{ name: "page", key: KEY }] });
    served.engine.reply = () => said("Hi");
    await shown(served, async (page) => {
      await page.waitForFunction("document.activeElement.id === 'key'");
      assert.match(await textOf(page, "#status"), /asks for an API key/);
      await page.type("#key", "sk-wrong-0123456789");
      await page.keyboard.press("Tab");
      await page.waitForFunction("/does not know/.test(document.querySelector('#status').textContent)");
      await page.$eval("#key", (input) => (input as unknown as { select(): void }).select());
      await page.type("#key", KEY);
      await page.keyboard.press("Tab");
      await page.waitForSelector("#model:not(:disabled)");
      await page.reload();
      await say(page, "Hello");
      await page.waitForSelector(".assistant:not(.pending)");
      assert.equal(await textOf(page, ".assistant .text"), "Hi");
    });
  },
);

inBrowser(
  "what goes wrong is told where the answer would stand, and the question can be asked again",
  async () => {
    await using served = await serve();
    const { engine } = served;
    engine.reply = () => new EngineUnavailable("Cannot generate: nobody serves stage 1");
    await shown(served, async (page) => {
      await say(page, "Hi");
      await page.waitForSelector(".note.bad");
      assert.match(await textOf(page, ".note.bad"), /nobody serves stage 1\. Try again in 5 s/);
      engine.reply = () => said("Here");
      await say(page, "Hi");
      await page.waitForFunction("document.querySelectorAll('.assistant .text')[1]?.textContent === 'Here'");
      await say(page, "x".repeat(600));
      await page.waitForFunction("document.querySelectorAll('.note.bad').length === 2");
      assert.match(
        await textOf(page, ".assistant:last-child .note"),
        /the model holds 512.*Begin a new chat\.$/,
      );
    });
    assert.equal(engine.asked[1].prompt.length, "User: Hi\nAssistant:".length);
  },
);

inBrowser("nothing is wider than the narrowest telephone, in light and in dark", async () => {
  await using served = await serve();
  served.engine.reply = () => said("x".repeat(300));
  await shown(served, async (page) => {
    await say(page, "y".repeat(120));
    await page.waitForSelector(".assistant:not(.pending)");
    await page.click("#settings-button");
    const papers: unknown[] = [];
    for (const value of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
      await page.setViewport({ width: 320, height: 640 });
      assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 320);
      assert.equal(await page.evaluate("document.querySelector('#log').scrollWidth"), 320);
      papers.push(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert.notEqual(papers[0], papers[1]);
  });
});

Deno.test("events are read whole, wherever their bytes are cut", async () => {
  const bytes = new TextEncoder().encode(
    'data: {"a":"é🦜"}\n\n: a comment\n\ndata: one\ndata: two\n\ndata: [DONE]\n\ndata: cut',
  );
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, index) => bytes.slice(index * size, (index + 1) * size),
    );
    const heard = await Array.fromAsync(dataOf(ReadableStream.from(chunks)));
    assert.deepEqual(heard, ['{"a":"é🦜"}', "one\ntwo", "[DONE]"]);
  }
});
