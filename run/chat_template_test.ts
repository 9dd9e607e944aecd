import assert from "node:assert/strict";
import fc from "fast-check";
import { type ChatMessage, ChatTemplateError, openChatTemplate } from "./chat_template.ts";

const CHAT: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hello" },
  { role: "assistant", content: "Hi." },
  { role: "user", content: "Who are you?" },
];

/** In the manner of ChatML, which many models are taught. */
const MARKED = "{{ bos_token }}{% for message in messages %}" +
  "{{ '<|' + message.role + '|>' + message['content'] | trim + eos_token + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

const open = (config: unknown) => openChatTemplate(JSON.stringify(config));

Deno.test("a chat becomes the text that the published template makes of it, special tokens spelt out", () => {
  const template = open({ chat_template: MARKED, bos_token: "<s>", eos_token: { content: "</s>" } });
  assert.equal(
    template.render(CHAT),
    "<s><|system|>Be brief.</s>\n<|user|>Hello</s>\n<|assistant|>Hi.</s>\n<|user|>Who are you?</s>\n<|assistant|>",
  );
  assert.deepEqual([template.stops, template.opensText], [[], true]);
});

Deno.test("of several templates the one named default is taken, else the first", () => {
  const [one, other] = [{ name: "tool_use", template: "tools" }, { name: "default", template: "plain" }];
  assert.equal(open({ chat_template: [one, other] }).render(CHAT), "plain");
  assert.equal(open({ chat_template: [one] }).render(CHAT), "tools");
});

Deno.test("without a template each turn is a line, and the answer ends where the user would speak", () => {
  for (const template of [openChatTemplate(undefined), open({}), open({ chat_template: null })]) {
    assert.equal(
      template.render(CHAT),
      "System: Be brief.\nUser: Hello\nAssistant: Hi.\nUser: Who are you?\nAssistant:",
    );
    assert.ok(template.stops.includes("\nUser:"));
  }
  const [answer] = openChatTemplate(undefined).render([{ role: "assistant", content: " Hi.\n" }]).split("\n");
  assert.equal(answer, "Assistant: Hi.", "whatever blanks it came with");
  const plain = open({ bos_token: "<s>" });
  assert.equal(plain.render([]), "Assistant:");
  assert.equal(plain.opensText, false, "the token that opens a text is the tokenizer's to put there");
});

Deno.test("a template may count, know none and true, and keep what it found in a namespace", () => {
  const template = open({
    chat_template: "{% set found = namespace(last=none) %}{% for i in range(messages|length) %}" +
      "{% if messages[i].role == 'user' %}{% set found.last = i %}{% endif %}{% endfor %}" +
      "{{ found.last }}{{ true and not None }}{{ range(4, 0, -2) }}{{ strftime_now is defined }}",
  });
  assert.equal(template.render(CHAT), "3true[4, 2]false");
});

Deno.test("a chat that a template refuses, or can't use, is the chat's fault and says why", () => {
  const strict = open({
    chat_template: "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}",
  });
  assert.throws(
    () => strict.render(CHAT),
    new ChatTemplateError("Cannot make a text of this chat: No system role"),
  );
  for (const broken of ["{{ nothing() }}", "{{ messages | no_such_filter }}"]) {
    assert.throws(() => open({ chat_template: broken }).render(CHAT), ChatTemplateError, broken);
  }
});

Deno.test("a template's loops and its text are bounded", () => {
  for (const counted of ["range(1000000000)", "range(0, 10, 0)", "range(0, 1, 0.0000001)"]) {
    const endless = open({ chat_template: `{% for i in ${counted} %}x{% endfor %}` });
    assert.throws(() => endless.render(CHAT), ChatTemplateError, counted);
  }
  const long = open({ chat_template: "{% for i in range(60000) %}{{ messages[0].content }}{% endfor %}" });
  assert.throws(() => long.render([{ role: "user", content: "x".repeat(1000) }]), /60000000 characters/);
});

Deno.test("a file that holds no template that can be read is turned away with its reason", () => {
  assert.throws(() => openChatTemplate("{"), /Cannot read tokenizer_config.json/);
  assert.throws(() => open({ chat_template: 5 }), /chat_template/);
  assert.throws(() => open({ chat_template: "{% for %}" }), /Cannot read the chat template/);
  assert.throws(() => open({ chat_template: "x".repeat(300_000) }), TypeError);
});

Deno.test("whatever is said is said whole, and in order", () => {
  const role = fc.constantFrom("system" as const, "user" as const, "assistant" as const);
  const chat = fc.array(fc.record({ role, content: fc.string({ unit: "binary" }) }), { maxLength: 8 });
  const template = open({
    chat_template: "{% for message in messages %}{{ message.content }}\u0000{% endfor %}",
  });
  fc.assert(fc.property(chat, (messages) => {
    assert.equal(template.render(messages), messages.map(({ content }) => `${content}\u0000`).join(""));
    assert.ok(openChatTemplate(undefined).render(messages).endsWith("Assistant:"));
  }));
});
