import assert from "node:assert/strict";
import fc from "fast-check";
import { Mailbox } from "./mailbox.ts";

Deno.test("a mailbox behaves like a bounded list and never holds more than its bound", () => {
  const command = fc.oneof(
    { weight: 20, arbitrary: fc.record({ push: fc.integer() }) },
    { weight: 15, arbitrary: fc.constant("shift" as const) },
    { weight: 1, arbitrary: fc.constant("clear" as const) },
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.array(command, { maxLength: 200 }),
      (bound, commands) => {
        const mailbox = new Mailbox<number>(bound);
        let model: number[] = [];
        for (const command of commands) {
          if (command === "shift") {
            assert.equal(mailbox.shift(), model.shift());
          } else if (command === "clear") {
            mailbox.clear();
            model = [];
          } else {
            assert.equal(mailbox.push(command.push), model.length < bound);
            if (model.length < bound) model.push(command.push);
          }
          assert.equal(mailbox.size, model.length);
          assert.ok(mailbox.size <= bound);
        }
      },
    ),
  );
});

Deno.test("a mailbox without room for one message is a mistake", () => {
  for (const bound of [0, -1, 1.5, NaN, Infinity]) {
    assert.throws(() => new Mailbox(bound), /Cannot make a mailbox: bound must be/);
  }
});
