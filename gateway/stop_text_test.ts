import assert from "node:assert/strict";
import fc from "fast-check";
import { StopText } from "./stop_text.ts";

/** What is told of a text that comes in pieces. */
function told(pieces: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const stop = new StopText(stops);
  const text = pieces.map((piece) => stop.push(piece)).join("");
  return { text: text + stop.end(), stopped: stop.stopped };
}

// Few letters, so that strings overlap with themselves and with each other.
const letters = (least: number, most: number) =>
  fc.string({ unit: fc.constantFrom("a", "b"), minLength: least, maxLength: most });

Deno.test("a text ends before the first stop string that is in it, however it is cut into pieces", () => {
  const stops = fc.array(letters(1, 5), { maxLength: 4 });
  fc.assert(fc.property(fc.array(letters(0, 6), { maxLength: 12 }), stops, (pieces, stops) => {
    const text = pieces.join("");
    const places = stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    // Of several strings the one counts that is whole first; of those the one that begins first.
    const whole = Math.min(
      ...stops.map((stop) => text.indexOf(stop)).map((place, index) =>
        place < 0 ? Infinity : place + stops[index].length
      ),
    );
    const outcome = told([...text], stops);
    assert.equal(outcome.stopped, places.length > 0);
    if (places.length === 0) assert.equal(outcome.text, text);
    else {
      const first = Math.min(
        ...stops.map((stop) => text.slice(0, whole).indexOf(stop)).filter((place) => place >= 0),
      );
      assert.equal(outcome.text, text.slice(0, first));
    }
    // In larger pieces no stop string gets through either.
    const coarse = told(pieces, stops);
    assert.equal(coarse.stopped, outcome.stopped);
    assert.ok(stops.every((stop) => !coarse.text.includes(stop)));
  }));
});

Deno.test("nothing is held back that can't become a stop string", () => {
  fc.assert(fc.property(letters(0, 30), fc.array(letters(1, 5), { maxLength: 4 }), (text, stops) => {
    const stop = new StopText(stops);
    let shown = 0;
    for (const [index, letter] of [...text].entries()) {
      shown += stop.push(letter).length;
      const held = text.slice(shown, index + 1);
      if (stop.stopped) return;
      assert.ok(held === "" || stops.some((one) => one.startsWith(held)), held);
    }
  }));
});
