/**
 * The chat of the page at `/`. It asks the gateway that it came from, by the same
 * API that programs use, and shows what it hears as text and as nothing else.
 */

import { dataOf } from "./events.js";

const element = (id) => document.getElementById(id);
const [model, settings, log, form, message, send, stop, status, key] = [
  "model",
  "settings",
  "log",
  "ask",
  "message",
  "send",
  "stop",
  "status",
  "key",
].map(element);

/** Where the key is kept: as long as the tab is open. */
const KEY = "murmuration-api-key";

/** So near to the end counts as at the end, in pixels. */
const END_PIXELS = 48;

/** The chat so far, as the API takes it. */
let messages = [];
/** The answer that is being made. */
let asking;

/** Asks the gateway; throws its own words if it refuses. */
async function ask(path, init = {}) {
  const headers = { "content-type": "application/json" };
  if (key.value !== "") headers.authorization = `Bearer ${key.value}`;
  const response = await fetch(path, { ...init, headers });
  if (response.ok) return response;
  const told = await response.json().catch(() => undefined);
  const refusal = new Error(told?.error?.message ?? `The gateway answers with status ${response.status}`);
  refusal.status = response.status;
  refusal.code = told?.error?.code;
  refusal.retryAfter = response.headers.get("retry-after");
  throw refusal;
}

async function loadModels() {
  try {
    const { data } = await (await ask("/v1/models")).json();
    model.replaceChildren(...data.map(({ id }) => new Option(id, id)));
    status.textContent = data.length === 0 ? "This gateway has no model." : "";
  } catch (error) {
    model.replaceChildren();
    tell(error);
  }
  model.disabled = model.length === 0;
  refresh();
}

function tell(error) {
  if (error.status === 401) {
    showSettings(true);
    key.focus();
    status.textContent = key.value === ""
      ? "This gateway asks for an API key."
      : "The gateway does not know this API key.";
    return;
  }
  status.textContent = explain(error);
}

function explain(error) {
  if (error instanceof TypeError) return "The gateway can't be reached.";
  if (error.code === "context_length_exceeded") return `${error.message}. Begin a new chat.`;
  return error.retryAfter ? `${error.message}. Try again in ${error.retryAfter} s.` : error.message;
}

/** Which buttons can be used. */
function refresh() {
  const isAsking = asking !== undefined;
  send.hidden = isAsking;
  stop.hidden = !isAsking;
  send.disabled = model.value === "" || message.value.trim() === "";
}

function showSettings(shown) {
  settings.hidden = !shown;
  element("settings-button").setAttribute("aria-expanded", String(shown));
}

/** Adds a turn to what is seen. */
function show(role, text) {
  element("welcome")?.remove();
  const turn = document.createElement("article");
  turn.className = `turn ${role}`;
  turn.setAttribute("aria-label", role === "user" ? "You" : "Answer");
  const body = document.createElement("p");
  body.className = "text";
  body.textContent = text;
  turn.append(body);
  log.append(turn);
  log.scrollTop = log.scrollHeight;
  return turn;
}

function note(turn, text, isBad = false) {
  const line = document.createElement("p");
  line.className = isBad ? "note bad" : "note";
  line.textContent = text;
  keepingEnd(() => turn.append(line));
}

/** Changes what is seen, and stays at its end if that is where the reader is. */
function keepingEnd(change) {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < END_PIXELS;
  change();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

async function answer() {
  const question = message.value;
  message.value = "";
  status.textContent = "";
  show("user", question);
  messages.push({ role: "user", content: question });
  const turn = show("assistant pending", "");
  const told = document.createTextNode("");
  turn.firstChild.append(told);
  const chat = messages;
  asking = new AbortController();
  refresh();
  try {
    const { finish, tokens } = await hear(asking.signal, (text) =>
      // Models begin with a blank, as a word in a text does.
      keepingEnd(() => told.appendData(told.data === "" ? text.trimStart() : text)));
    note(turn, `${tokens} ${tokens === 1 ? "token" : "tokens"}${finish === "length" ? " · cut off" : ""}`);
  } catch (error) {
    if (asking.signal.aborted) note(turn, "Stopped");
    else {
      note(turn, explain(error), true);
      if (error.status === 401) tell(error);
    }
  }
  if (told.data.trim() !== "") chat.push({ role: "assistant", content: told.data.trim() });
  // Two questions in a row would be refused by many templates.
  else if (chat.at(-1)?.role === "user") chat.pop();
  turn.classList.remove("pending");
  asking = undefined;
  const hadFocus = document.activeElement === stop;
  refresh();
  // A button that is gone takes the focus along.
  if (hadFocus) message.focus();
}

/** Asks for the answer to the chat, and gives its pieces away as they come. */
async function hear(signal, give) {
  const system = element("system").value.trim();
  const tokens = element("tokens").valueAsNumber;
  const response = await ask("/v1/chat/completions", {
    method: "POST",
    signal,
    body: JSON.stringify({
      model: model.value,
      messages: [...system === "" ? [] : [{ role: "system", content: system }], ...messages],
      temperature: element("temperature").valueAsNumber,
      ...Number.isInteger(tokens) ? { max_tokens: tokens } : {},
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  const whole = { finish: undefined, tokens: 0 };
  for await (const data of dataOf(response.body)) {
    if (data === "[DONE]") return whole;
    const { error, choices = [], usage } = JSON.parse(data);
    if (error) throw new Error(error.message);
    whole.tokens = usage?.completion_tokens ?? whole.tokens;
    for (const { delta, finish_reason: finish } of choices) {
      if (delta.content) give(delta.content);
      whole.finish = finish ?? whole.finish;
    }
  }
  throw new Error("The answer broke off.");
}

function newChat() {
  asking?.abort();
  messages = [];
  const welcome = document.createElement("p");
  welcome.id = "welcome";
  welcome.textContent = "A new chat.";
  log.replaceChildren(welcome);
  status.textContent = "";
  message.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (asking === undefined && !send.disabled) answer();
});
message.addEventListener("input", refresh);
message.addEventListener("keydown", (event) => {
  // While letters are being composed, Enter belongs to whoever composes them.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") asking?.abort();
});
stop.addEventListener("click", () => asking?.abort());
element("new-chat").addEventListener("click", newChat);
element("settings-button").addEventListener("click", () => showSettings(settings.hidden));
element("temperature").addEventListener("input", (event) => {
  element("temperature-value").value = event.target.valueAsNumber.toFixed(1);
});
key.addEventListener("change", () => {
  sessionStorage.setItem(KEY, key.value);
  loadModels();
});

key.value = sessionStorage.getItem(KEY) ?? "";
await loadModels();
