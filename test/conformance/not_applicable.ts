/**
 * Normative statements that no line of a gateway can fulfil, each with the reason, which continues "not applicable, because".
 * Where a client's breach can be seen, the reason says what becomes of it. A statement that is cited must not be here.
 */

const CLIENT = "it binds the client";

/** Id → reason. */
export const NOT_APPLICABLE: Readonly<Record<string, string>> = {
  "MQTT3-2.3.1-2": `${CLIENT}; an identifier in use is with QoS 2 a repeat (MQTT3-4.3.3-2), with QoS 1 a new message`,
  "MQTT3-2.3.1-3": `${CLIENT}; a QoS 2 PUBLISH that comes again with its identifier is published once (MQTT3-4.3.3-2)`,
  "MQTT3-3.1.2-23": `${CLIENT}; a client that is silent for too long is closed (MQTT3-3.1.2-24)`,
  "MQTT3-3.1.3-7": `${CLIENT}; an empty client identifier without a clean session is refused (MQTT3-3.1.3-8)`,
  "MQTT3-3.8.3-2": "it binds servers without wildcards; the gateway has them",
  "MQTT3-3.14.4-1": `${CLIENT}; the gateway closes the connection itself when the DISCONNECT is durable`,
  "MQTT3-4.5.0-2": `${CLIENT}; a message stays in its session until it is acknowledged (MQTT3-4.3.2-1, MQTT3-4.3.3-1)`,
  "MQTT3-7.0.0-1": "the gateway opens no MQTT connection to another server",
  "MQTT3-7.0.0-2": "no line does it: the gateway asks nothing of a client that is not in the standard",
  "MQTT3-7.1.2-1": `${CLIENT}, and a gateway takes what comes over TCP (MQTT3-7.1.1-1)`,
  "MQTT5-3.1.2-20": `${CLIENT}; a client that is silent for too long is closed (MQTT5-3.1.2-22)`,
  "MQTT5-3.1.2-21": `${CLIENT}; the gateway measures by the keep-alive it announced (MQTT5-3.1.2-22)`,
  "MQTT5-3.2.2-4": `${CLIENT}, which alone knows whether it has a state`,
  "MQTT5-3.2.2-5": `${CLIENT}, which alone knows whether it has a state`,
  "MQTT5-3.2.2-11": `${CLIENT}; a PUBLISH above the QoS that was announced ends its connection`,
  "MQTT5-3.2.2-13": "it binds servers without retained messages; the gateway has them",
  "MQTT5-3.2.2-14": `${CLIENT}, and only where a server has no retained messages; the gateway has them`,
  "MQTT5-3.2.2-20": "the gateway puts no user property into CONNACK",
  "MQTT5-3.2.2-21": `${CLIENT}; the gateway measures by the keep-alive it announced (MQTT5-3.1.2-22)`,
  "MQTT5-3.3.2-10": `${CLIENT}; the gateway's own side of it is MQTT5-3.3.2-12`,
  "MQTT5-3.3.4-5": "the gateway sends one copy for all subscriptions of a session (MQTT5-3.3.4-4)",
  "MQTT5-3.3.4-8": `${CLIENT}; the gateway reads on, whatever a client holds back`,
  "MQTT5-3.4.2-3": "the gateway puts no user property into PUBACK",
  "MQTT5-3.5.2-3": "the gateway puts no user property into PUBREC",
  "MQTT5-3.6.2-2": "the gateway puts no reason string into PUBREL",
  "MQTT5-3.6.2-3": "the gateway puts no user property into PUBREL",
  "MQTT5-3.7.2-2": "the gateway puts no reason string into PUBCOMP",
  "MQTT5-3.7.2-3": "the gateway puts no user property into PUBCOMP",
  "MQTT5-3.9.2-1": "the gateway puts no reason string into SUBACK",
  "MQTT5-3.9.2-2": "the gateway puts no user property into SUBACK",
  "MQTT5-3.11.2-1": "the gateway puts no reason string into UNSUBACK",
  "MQTT5-3.11.2-2": "the gateway puts no user property into UNSUBACK",
  "MQTT5-3.14.2-4": "the gateway puts no user property into DISCONNECT",
  "MQTT5-4.5.0-2": `${CLIENT}; a message stays in its session until it is acknowledged (MQTT5-4.3.2-3, MQTT5-4.3.3-3)`,
};
