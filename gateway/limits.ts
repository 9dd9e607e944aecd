/** Every bound of the gateway, with its reason. What they bound is elsewhere. */

/** A request's body. A context of 128,000 tokens in JSON is about 1 MB. */
export const BODY_BYTES_MAX: number = 4 * 1024 * 1024;

/** Bodies that are being received, all together: what strangers can make the gateway hold before it has read a word. */
export const BODY_BYTES_TOTAL_MAX: number = 64 * 1024 * 1024;

/** Time for a body to arrive. 4 MB in 30 s is what a poor telephone line carries. */
export const BODY_MS_MAX = 30_000;

/** Time for the head of a request to arrive: it is one packet. */
export const HEAD_MS_MAX = 10_000;

/** Time that a connection may be idle between two requests. */
export const IDLE_MS_MAX = 60_000;

/** Time that a client may take nothing of an answer: after it, it counts as gone, and its session is freed. */
export const STALL_MS_MAX = 60_000;

/** Connections. A thousand slow clients, and as many that work. */
export const CONNECTIONS_MAX = 4096;

/** Answers that are generated at once, if nobody says otherwise; an engine that has less room says so itself. */
export const ANSWERS_AT_ONCE = 64;

/**
 * Answers at once to one key, if its description does not say: a quarter of all, so that no one client, however
 * slowly it takes its answers, keeps the others from theirs.
 */
export const ANSWERS_AT_ONCE_PER_KEY = 16;

/** Answers that wait for their turn. Who would wait longer had better ask again. */
export const ANSWERS_WAITING_MAX = 256;

/** When to ask again where the queue is full, in seconds: about as long as an answer takes. */
export const QUEUE_RETRY_SECONDS = 5;

/** Answers to one request: prompts times `n`. */
export const CHOICES_MAX = 16;

/** Turns of a chat. */
export const MESSAGES_MAX = 4096;

/** Parts of one turn's content. */
export const PARTS_MAX = 256;

/** Texts that end an answer: what OpenAI's schema allows. */
export const STOPS_MAX = 4;

/** Length of one of them, in characters: so much of an answer may be held back. */
export const STOP_CHARACTERS_MAX = 256;

/**
 * Characters to a token, at most: a prompt that has more than a context full of these is turned away before it
 * is cut into tokens, as that takes time. English has about four, and the longest tokens are runs of blanks.
 */
export const CHARACTERS_PER_TOKEN_MAX = 32;

/** Keys in a file of keys. Each is compared with each request's. */
export const KEYS_MAX = 10_000;
