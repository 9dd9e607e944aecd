/** OpenAI's API over an {@link Engine}. It knows neither peers nor tensors. */

export { type Engine, EngineBusy, type EngineFigures, EngineUnavailable } from "./engine.ts";
export type { Generation, Model } from "./engine.ts";
export { Gateway, type GatewayParts } from "./gateway.ts";
export { type KeyDescription, parseKeys } from "./keys.ts";
export { ANSWERS_AT_ONCE } from "./limits.ts";
export { listen, type Listening, type ListenOptions } from "./listen.ts";
export { isLoopback, type OriginRules } from "./origins.ts";
