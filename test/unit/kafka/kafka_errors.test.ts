/** What Kafka's error names become: a code to act on and a sentence that a person can act on. */
import assert from "node:assert/strict";
import { kafkaError } from "../../../src/kafka/kafka_errors.ts";
import { test } from "../../support/test.ts";

/** As the package nests them. */
function answer(apiId: string): Error {
  return Object.assign(new Error("Received response with error"), {
    errors: [Object.assign(new Error(""), { apiId, apiCode: 1, serverErrorMessage: "" })],
  });
}

for (
  const [apiId, setting] of [
    ["NOT_ENOUGH_REPLICAS", /min\.insync\.replicas/],
    ["NOT_ENOUGH_REPLICAS_AFTER_APPEND", /min\.insync\.replicas/],
    ["CONCURRENT_TRANSACTIONS", /last transaction cannot end.*min\.insync\.replicas/],
    ["COORDINATOR_NOT_AVAILABLE", /__transaction_state.*transaction\.state\.log\.min\.isr/],
  ] as const
) {
  test(`${apiId} heals by itself, and its sentence says which setting of Kafka's it is about`, () => {
    const { code, message } = kafkaError('write to topic "a"', answer(apiId));
    assert.equal(code, "kafka.unreachable");
    assert.match(message, /^Cannot write to topic "a": /);
    assert.match(message, setting);
    assert.match(message, new RegExp(apiId));
  });
}
