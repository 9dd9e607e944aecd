/** Ends well if Dawn finds an adapter here. Run by `drivers.ts`; tests import it for nothing. */

import { openWebGpu } from "../webgpu/open.ts";

await (await openWebGpu({ sources: ["dawn"] })).close();
Deno.exit(0);
