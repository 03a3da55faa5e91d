/** Places and window against naive models: what waits, what is in flight, and which packet identifier means which. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { packetIdOf, Places } from "../../../src/mqtt/places.ts";
import { Window } from "../../../src/mqtt/window.ts";
import { test } from "../../support/test.ts";

const DELIVERY = { qos: 1, retainAsPublished: false, subscriptionIds: [], retained: false, shared: undefined } as const;

interface ModelPlace {
  readonly place: number;
  readonly position: number;
  readonly bytes: number;
  state: "waiting" | "sent" | "acknowledged" | "completed";
}

type Step = { readonly type: "add" | "send" | "acknowledge" | "append" | "reconnect" | "drop"; readonly at: number };

const step: fc.Arbitrary<Step> = fc.record({
  type: fc.constantFrom(
    "add",
    "add",
    "add",
    "send",
    "send",
    "acknowledge",
    "acknowledge",
    "append",
    "drop",
    "reconnect",
  ),
  at: fc.nat(),
});

/** Runs the steps on both; `first` moves the packet identifiers to where they wrap. */
function run(first: number, countMax: number, steps: readonly Step[]): void {
  const places = new Places(first);
  const model: ModelPlace[] = [];
  const options = { countMax, bytesMax: 1_000 };
  let window = new Window(places, options);
  const inState = (state: ModelPlace["state"]): ModelPlace[] => model.filter((place) => place.state === state);
  for (const { type, at } of steps) {
    switch (type) {
      case "add": {
        const position = 100 + model.length;
        const place = places.add(position, { delivery: DELIVERY, qos: 1, bytes: at % 300 });
        assert.equal(place, first + model.length);
        model.push({ place, position, bytes: at % 300, state: "waiting" });
        break;
      }
      case "send":
      case "drop": {
        while (window.next < places.next && places.position(window.next) === undefined) window.skip();
        const next = model.find(({ place }) => place === window.next);
        if (next === undefined || !window.isOpen) break;
        assert.equal(next.state, "waiting");
        if (type === "send") window.sent();
        else window.drop();
        next.state = type === "send" ? "sent" : "acknowledged";
        break;
      }
      case "acknowledge": {
        const sent = inState("sent");
        const chosen = sent[at % Math.max(1, sent.length)];
        if (chosen === undefined) {
          assert.equal(window.placeOf((at % 65_535) + 1), undefined, "an unknown identifier means nothing");
          break;
        }
        assert.equal(window.placeOf(packetIdOf(chosen.place)), chosen.place);
        window.acknowledge(chosen.place);
        assert.equal(window.placeOf(packetIdOf(chosen.place)), undefined, "acknowledged once");
        chosen.state = "acknowledged";
        break;
      }
      case "append": {
        const completion = window.takeCompletion();
        const done = inState("acknowledged");
        assert.equal(completion === undefined, done.length === 0);
        if (completion === undefined) break;
        const open = new Set(completion.exceptions);
        for (let place = places.first; place <= completion.through; place++) {
          if (!open.has(place)) places.complete(place);
        }
        for (const place of done) place.state = "completed";
        break;
      }
      case "reconnect":
        // What is not completed is sent again.
        window = new Window(places, options);
        for (const place of model) if (place.state !== "completed") place.state = "waiting";
        break;
    }
    const open = model.filter(({ state }) => state !== "completed");
    assert.equal(places.count, open.length);
    assert.equal(places.waitingBytes, open.reduce((sum, { bytes }) => sum + bytes, 0));
    assert.deepEqual([...places.openPlaces()], open.map(({ place }) => place));
    assert.equal(places.first, open[0]?.place ?? places.next);
    for (const { place, position, bytes } of open) {
      assert.deepEqual([places.position(place), places.bytes(place)], [position, bytes]);
    }
    assert.equal(window.count, inState("sent").length);
    assert.ok(window.count <= countMax);
  }
}

test("places and window agree with a list, whatever the order of acknowledgements", () => {
  fc.assert(fc.property(
    fc.constantFrom(1, 65_530, 65_535, 131_060),
    fc.integer({ min: 1, max: 8 }),
    fc.array(step, { maxLength: 200 }),
    run,
  ));
});

test("[MQTT5-2.2.1-3] packet identifiers are 1…65,535 and repeat only after all others", () => {
  assert.deepEqual([1, 65_535, 65_536, 131_070, 131_071].map(packetIdOf), [1, 65_535, 1, 65_535, 1]);
});

test("the window never spans so far that a packet identifier would mean two places", () => {
  const places = new Places();
  for (let count = 0; count < 70_000; count++) places.add(count + 1, { delivery: DELIVERY, qos: 1, bytes: 1 });
  const window = new Window(places, { countMax: 65_535, bytesMax: 1_000_000 });
  const seen = new Set<number>();
  while (window.isOpen) {
    const packetId = packetIdOf(window.next);
    assert.equal(seen.has(packetId), false);
    seen.add(packetId);
    window.sent();
    if (window.next > 2) window.acknowledge(window.next - 1); // all but the first one
  }
  assert.equal(window.isSpanFull, true);
  assert.equal(window.hasReserve, false);
  window.acknowledge(1);
  const completion = window.takeCompletion();
  assert.deepEqual(completion?.exceptions, []);
  for (let place = 1; place <= (completion?.through ?? 0); place++) places.complete(place);
  assert.equal(window.isOpen, true);
});

test("a completion names the newest place that is done since the one before", () => {
  const places = new Places();
  for (let count = 0; count < 4; count++) places.add(count + 1, { delivery: DELIVERY, qos: 1, bytes: 1 });
  const window = new Window(places, { countMax: 10, bytesMax: 1_000 });
  for (let count = 0; count < 4; count++) window.sent();
  window.acknowledge(4);
  assert.deepEqual(window.takeCompletion(), { through: 4, exceptions: [1, 2, 3] });
  places.complete(4);
  window.acknowledge(2);
  assert.deepEqual(window.takeCompletion(), { through: 2, exceptions: [1] });
  places.complete(2);
  window.acknowledge(1);
  window.acknowledge(3);
  assert.deepEqual(window.takeCompletion(), { through: 3, exceptions: [] });
});
