// Deliberate faults in the production code, each of which the simulation must catch. A table; who applies it is
// mutate_simulation.ts. A text that is not found any more, or found twice, is an error: then the fault is to be written anew.

export interface Mutation {
  readonly name: string;
  readonly file: string;
  /** Occurs once in the file. */
  readonly find: string;
  readonly replace: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "acknowledge before the commit",
    file: "src/gateway/publishing.ts",
    find: "    this.#hub.log.after(\n      new PublishedEffect(",
    replace: "    ((effect: PublishedEffect) => effect.run())(\n      new PublishedEffect(",
  },
  {
    name: "forget the window",
    file: "src/mqtt/window.ts",
    find: "return this.#count < this.#options.countMax && (",
    replace: "return (",
  },
  {
    name: "skip DUP",
    file: "src/gateway/delivery.ts",
    find: "const dup = qos > 0 && at.place <= session.sentThrough;",
    replace: "const dup = false;",
  },
  {
    name: "PUBREL before released is durable",
    file: "src/gateway/acknowledging.ts",
    find:
      "    whenDurable(this.#hub.log, { connection, bytes: ANSWER_BYTES }, () => {\n      // [MQTT3-4.3.3-1] [MQTT3-4.6.0-4]",
    replace: "    ((run: () => void) => run())(() => {\n      // [MQTT3-4.3.3-1] [MQTT3-4.6.0-4]",
  },
  {
    name: "PUBCOMP before the identifier is durably free",
    file: "src/gateway/acknowledging.ts",
    find:
      "    whenDurable(this.#hub.log, { connection, bytes: ANSWER_BYTES }, () => {\n      // [MQTT3-4.3.3-2] [MQTT5-2.2.1-5]",
    replace: "    ((run: () => void) => run())(() => {\n      // [MQTT3-4.3.3-2] [MQTT5-2.2.1-5]",
  },
  {
    name: "QoS 2 received not remembered",
    file: "src/gateway/publishing.ts",
    find: "      this.#hub.log.append(entry, { logged: session.durable });",
    replace: "      void entry;",
  },
  {
    name: "QoS 2 received remembered in memory only",
    file: "src/gateway/publishing.ts",
    find: "      this.#hub.log.append(entry, { logged: session.durable });",
    replace: "      this.#hub.log.append(entry, { logged: false });",
  },
  {
    name: "completion without durability",
    file: "src/gateway/delivery.ts",
    find: "...completion }, { logged: session.durable });",
    replace: "...completion }, { logged: false });",
  },
  {
    name: "deliver before the commit",
    file: "src/gateway/delivery.ts",
    find: "if (!window.isOpen || position > committedThrough || connection.isHeld(",
    replace: "if (!window.isOpen || connection.isHeld(",
  },
  {
    name: "above the granted QoS",
    file: "src/log/state.ts",
    find: "return published < granted ? published : granted;",
    replace: "return published;",
  },
  {
    name: "No Local forgotten",
    file: "src/mqtt/receivers.ts",
    find: "subscriptions.filter((subscription) => !subscription.request.noLocal)",
    replace: "subscriptions",
  },
  {
    name: "Retain As Published forgotten",
    file: "src/gateway/delivery.ts",
    find: "options.retained || (options.retainAsPublished && message.retain)",
    replace: "options.retained",
  },
  {
    name: "UNSUBSCRIBE leaves the subscription in the tree",
    file: "src/log/state.ts",
    find: "    } else this.subscriptions.remove(topicFilter, subscription); // [MQTT3-3.10.4-2]",
    replace: "    } // [MQTT3-3.10.4-2]",
  },
  {
    name: "share group gives to two",
    file: "src/gateway/share_groups.ts",
    find: "      this.#assign(group, place, { member, fresh });",
    replace:
      "      this.#assign(group, place, { member, fresh });\n      const other = group.takeTurn((connection) => this.#hasRoom(connection));\n      if (other !== undefined) this.#assign(group, place, { member: other, fresh });",
  },
  {
    name: "share group moves QoS 2 to others",
    file: "src/gateway/share_groups.ts",
    find: "if (isBeingSent(place) || (places.qos(place) === 2 && place <= session.sentThrough)) continue;",
    replace: "if (isBeingSent(place)) continue;",
  },
  {
    name: "what a member had with QoS 1 ends with its session",
    file: "src/gateway/share_groups.ts",
    find: "      this.#takeBack(session, group, nothing);\n      this.#loseSent",
    replace: "      this.#loseSent",
  },
  {
    name: "a member's end without a ledger line",
    file: "src/gateway/share_groups.ts",
    find: "      this.#loseSent(session, group);\n",
    replace: "",
  },
  {
    name: "a will fired twice",
    file: "src/gateway/wills.ts",
    find: '    log.append({ type: "will-fired", session: session.number }, { logged: session.logged });',
    replace: '    log.append({ type: "will-fired", session: session.number }, { logged: false });',
  },
  {
    name: "a will forgotten at a crash",
    file: "src/log/state.ts",
    find: "session.will = entry.will && { will: entry.will, dueMs: undefined };",
    replace: "session.will = undefined;",
  },
  {
    name: "retained not removed",
    file: "src/log/state.ts",
    find: "      if (!this.retained.delete(message.topicName)) return;",
    replace: "      return;",
  },
  {
    name: "expiry ignored",
    file: "src/gateway/delivery.ts",
    find: '    if (about.hasExpired) return "expired"; // [MQTT5-3.3.2-5]',
    replace: "",
  },
  {
    name: "remaining expiry not lowered",
    file: "src/gateway/delivery.ts",
    find: "return Math.max(0, expirySeconds - Math.floor((nowMs - message.receivedMs) / 1000));",
    replace: "return nowMs - message.receivedMs < expirySeconds * 1000 ? expirySeconds : 0;",
  },
  {
    name: "ledger line left out at a full queue",
    file: "src/gateway/delivery.ts",
    find: '      this.#lose(receiver.session, message, "queue-limit");',
    replace: "",
  },
  {
    name: "snapshot as of one too many",
    file: "src/log/log.ts",
    find: "this.#snapshots.take(this.#next - 1, options)",
    replace: "this.#snapshots.take(this.#next, options)",
  },
  {
    name: "snapshot as of one too few",
    file: "src/log/log.ts",
    find: "this.#snapshots.take(this.#next - 1, options)",
    replace: "this.#snapshots.take(this.#next - 2, options)",
  },
  {
    name: "positions used again after a restart",
    file: "src/log/recovery.ts",
    find: "  const next = damaged.some(",
    replace:
      "  if (Number.isFinite(known)) return { opened, state, space, tail, replayed, damaged, next: known - 1 };\n  const next = damaged.some(",
  },
  {
    name: "damage found at the start without a line in the ledger",
    file: "src/log/recovery.ts",
    find: "  for (const damage of damaged) log.lose(lossOf(damage, wallMs));\n",
    replace: "",
  },
  {
    name: "damage found later without a line in the ledger",
    file: "src/log/recovery.ts",
    find: "  reader.onDamage = (damage) => log.lose(lossOf(damage, options.platform.clock.wallMs()));\n",
    replace: "",
  },
  {
    name: "a damaged row ends the replay",
    file: "src/log/recovery.ts",
    find: "        miss(row);\n        continue;\n",
    replace: "        miss(row);\n        return { bytes, atMs, isWhole: false };\n",
  },
  {
    name: "places behind a damaged row keep their too low numbers",
    file: "src/log/missing_rows.ts",
    find: "    if (gaps.length === 0) return;\n",
    replace: "    if (gaps.length > 0) return;\n",
  },
  {
    name: "entries behind a damaged row name places that others have now",
    file: "src/log/missing_rows.ts",
    find: "    if (!this.#isAny) return entry;\n",
    replace: "    if (position > 0) return entry;\n",
  },
  {
    name: "what was received before a damaged row passes for not released",
    file: "src/log/missing_rows.ts",
    find: "      session.received.clear();\n",
    replace: "",
  },
  {
    name: "a message is delivered without its last byte",
    file: "src/gateway/delivery.ts",
    find: "    connection.outbox.publish(\n      message,\n",
    replace: "    connection.outbox.publish(\n      { ...message, payload: message.payload.subarray(0, -1) },\n",
  },
  {
    name: "a message that is refused is published all the same",
    file: "src/gateway/publishing.ts",
    find: "    else if (packet.qos === 0) this.#fromClient(",
    replace: "    if (packet.qos === 0) this.#fromClient(",
  },
  {
    name: "messages of one publisher overtake each other",
    file: "src/mqtt/places.ts",
    find: "    this.#open++;\n    return place;\n",
    replace:
      "    this.#open++;\n    const last = this.#positions.length - 1;\n    if (place % 7 === 0 && last > this.#head && this.#positions[last - 1] !== DONE) {\n      for (const list of [this.#positions, this.#deliveries, this.#weights] as unknown[][]) list.push(list.splice(-2, 1)[0]);\n    }\n    return place;\n",
  },
  {
    name: "Subscription Identifiers left out",
    file: "src/gateway/delivery.ts",
    find: "version === 5 && options.subscriptionIds.length > 0 ?",
    replace: "version === 5 && options.subscriptionIds.length > 1 ?",
  },
  {
    name: "DUP on everything",
    file: "src/gateway/delivery.ts",
    find: "const dup = qos > 0 && at.place <= session.sentThrough;",
    replace: "const dup = qos > 0;",
  },
  {
    name: "a member that left goes on getting messages",
    file: "src/gateway/subscribing.ts",
    find: "      if (!session.subscriptions.has(topicFilter)) return REASON.noSubscriptionExisted;\n",
    replace: "      if (session.isShared(topicFilter)) return REASON.success;\n",
  },
  {
    name: "records go up in the wrong order",
    file: "src/kafka/uplink.ts",
    find: "    const records = [...batch.records, this.#marker(through)];",
    replace: "    const records = [...batch.records.toReversed(), this.#marker(through)];",
  },
  {
    name: "markers go back",
    file: "src/kafka/uplink.ts",
    find: "    const records = [...batch.records, this.#marker(through)];",
    replace:
      "    const back = this.#counts.transactionsCommitted % 3 === 2 ? 60 : 0;\n    const records = [...batch.records, this.#marker(Math.max(1, through - back))];",
  },
  {
    name: "no marker behind a damaged row",
    file: "src/kafka/uplink.ts",
    find: " || isUnreadable) return batch;",
    replace: ") return batch;",
  },
  {
    name: "takeover leaves the older connection open",
    file: "src/gateway/connecting.ts",
    find: '    older.disconnect(REASON.sessionTakenOver, "Another connection uses the client identifier");\n',
    replace: "",
  },
  {
    name: "clean start keeps the session",
    file: "src/gateway/connecting.ts",
    find:
      "const kept = cleanStart ? undefined : log.state.sessionOf.get(clientId);\n    if (cleanStart && existing !== undefined) this.#wills.endSession(existing);",
    replace: "const kept = log.state.sessionOf.get(clientId);\n   ",
  },
  {
    name: "sessions never expire",
    file: "src/gateway/wills.ts",
    find: "return waitsForWill ? Infinity : session.expiresAtMs ?? Infinity;",
    replace: "return waitsForWill || session.durable ? Infinity : session.expiresAtMs ?? Infinity;",
  },
  {
    name: "ack=kafka acknowledged when it is on disk",
    file: "src/gateway/acknowledging.ts",
    find: "const waits = route?.ackKafka === true && position",
    replace: "const waits = route === null && position",
  },
  {
    name: "marker outside the transaction",
    file: "src/kafka/uplink.ts",
    find: "    const records = [...batch.records, this.#marker(through)];",
    replace:
      "    const limit = { maxRequestBytes: LIMITS.produceRequestBytes };\n    if (batch.records.length > 0) await started.producer.transact(batch.records, limit);\n    const records = [this.#marker(through)];",
  },
  {
    name: "marker read only to the read-committed end",
    file: "src/kafka/marker_reader.ts",
    find: 'const end = await client.endOffset({ ...where, isolation: "uncommitted" });',
    replace: 'const end = await client.endOffset({ ...where, isolation: "committed" });',
  },
  {
    name: "no read-committed filter",
    file: "src/kafka/committed_reader.ts",
    find: "    else if (!batch.transactional || !open.has(batch.producerId)) keepFrom(",
    replace: "    else keepFrom(",
  },
  {
    name: "downlink position outside the commit",
    file: "src/kafka/downlink.ts",
    find: "      if (!await this.#publish(messages, [positionOf(place, offset)])) return false;",
    replace:
      "      if (!await this.#publish(messages, [])) return false;\n      await durable(this.#parts.log);\n      if (!await this.#publish([], [positionOf(place, offset)])) return false;",
  },
  {
    name: "downlink position before the messages",
    file: "src/kafka/downlink.ts",
    find: "      if (!await this.#publish(messages, [positionOf(place, offset)])) return false;",
    replace:
      "      if (!await this.#publish([], [positionOf(place, offset)])) return false;\n      await durable(this.#parts.log);\n      if (!await this.#publish(messages, [])) return false;",
  },
  {
    name: "own records come back",
    file: "src/kafka/record.ts",
    find: "  if (rule.loop && isOwn(",
    replace: "  if (!rule.loop && isOwn(",
  },
  {
    name: "what came down goes up again",
    file: "src/gateway/publishing.ts",
    find: "const route = options.fromKafka ? undefined : this.#hub.router.route(message.topicName);",
    replace: "const route = this.#hub.router.route(message.topicName);",
  },
  {
    name: "rows freed before Kafka has them",
    file: "src/kafka/uplink.ts",
    find: "    await this.#lose(batch);\n",
    replace: "    await this.#lose(batch);\n    this.#reached(through, []);\n",
  },
  {
    name: "uplink goes on behind what failed",
    file: "src/kafka/uplink.ts",
    find: "    this.#position = resume.after;\n",
    replace: "    this.#position = Math.max(this.#parts.log.sendingThrough, resume.after);\n",
  },
  {
    name: "a transaction is taken for failed when no answer came",
    file: "src/kafka/uplink.ts",
    find: "    this.#position = resume.after;\n",
    replace: "    this.#position = this.#claimed ? this.#position : resume.after;\n",
  },
  {
    name: "a refused message without a line in the ledger",
    file: "src/kafka/uplink.ts",
    find: '      log.lose({ atMs, clientId, topicName, count: 1, reason: "kafka-refused", detail: reason });',
    replace: "      void atMs;",
  },
  {
    name: "given up without a line in the ledger",
    file: "src/log/log.ts",
    find: "    for (const loss of dropped.losses) this.lose(loss);\n",
    replace: "",
  },
  {
    name: "marker passes what was given up before the ledger is durable",
    file: "src/kafka/uplink.ts",
    find: "if (fresh.length === 0 && droppedThrough === this.#droppedThrough) return;",
    replace: "if (fresh.length === 0) return;",
  },
];
