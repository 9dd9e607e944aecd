import assert from "node:assert/strict";
import { stepEvent } from "./fixtures/events.ts";
import { History } from "./history.ts";
import { summarise } from "./summary.ts";

Deno.test("a run in a screenful: curve, figures, and who did how much", () => {
  const history = new History();
  history.add({ kind: "joined", peer: "peer-of-stage-1", stage: 1, step: 0 });
  history.add({ kind: "joined", peer: "peer-of-stage-0", stage: 0, step: 0 });
  for (let step = 1; step <= 4; step++) {
    history.add(stepEvent(step, { served: { "peer-of-stage-0": 600, "peer-of-stage-1": 2 }, replays: 1 }));
  }
  history.add({ kind: "lost", peer: "peer-of-stage-1", stage: 1, step: 4, reason: "gone" });
  history.add({ kind: "joined", peer: "latecomer", stage: 1, step: 4 });
  history.add({ kind: "validation", step: 4, loss: 1.5, tokens: 10 });

  const text = summarise(history);
  assert.match(text, /step 1 +step 4\n/);
  assert.match(text, /\ntraining loss +1\.2500 at step 4\n/);
  assert.match(text, /\nvalidation loss +1\.5000 at step 4, /);
  assert.match(text, /\ntokens per second +200\n/);
  assert.match(text, /\nmicro-batches replayed +4, /);
  assert.ok(text.endsWith(
    "stage   host      micro-batches\n" +
      "0       …tage-0           2,400\n" +
      "1       …tage-1               8   lost at step 4\n" +
      "1       …ecomer               0   joined at step 4",
  ));
  for (const line of text.split("\n")) assert.ok(line.length <= 80);
});

Deno.test("a run that never began is said in a few words", () => {
  assert.equal(
    summarise(new History()),
    "tokens per second       0\nmicro-batches replayed  none",
  );
});
