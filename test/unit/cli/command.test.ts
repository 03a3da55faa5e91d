// Arguments to commands, and errors to exit codes.

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Command, HELP, parseCommand } from "../../../src/cli/command.ts";
import { EXIT, exitCodeOf } from "../../../src/cli/exit_codes.ts";
import { AssertionFailed, type ErrorCode, TributaryError } from "../../../src/errors.ts";
import { test } from "../../support/test.ts";

test("each command is understood", () => {
  const cases: [string, Command][] = [
    ["", { kind: "serve" }],
    ["check", { kind: "check", kafka: false }],
    ["check --kafka", { kind: "check", kafka: true }],
    ["check --data", { kind: "check-data", directory: undefined }],
    ["check --data ./copy", { kind: "check-data", directory: "./copy" }],
    ["route a/b", { kind: "route", topicNames: ["a/b"] }],
    ["route a b/c", { kind: "route", topicNames: ["a", "b/c"] }],
    ["route -- -a", { kind: "route", topicNames: ["-a"] }],
    ["route --record plant key-1", { kind: "route-record", kafkaTopic: "plant", key: "key-1" }],
    ["password alice", { kind: "password", user: "alice", scram: false }],
    ["password --scram alice", { kind: "password", user: "alice", scram: true }],
    ["--help", { kind: "help" }],
    ["-h", { kind: "help" }],
    ["help", { kind: "help" }],
    ["check --help", { kind: "help" }],
    ["--version", { kind: "version" }],
  ];
  for (const [line, command] of cases) {
    assert.deepEqual(parseCommand(line === "" ? [] : line.split(" ")), command, line);
  }
});

test("misuse is one sentence with a hint and no guess", () => {
  const lines = [
    "serve",
    "check kafka",
    "check --kafak",
    "check --data a b",
    "check --data --kafka",
    "route",
    "route --",
    "route --recrod x y",
    "route --record plant",
    "route --record plant key more",
    "password",
    "password alice secret",
    "password --scram",
    "password --scram --scram alice",
    "password --scram alice secret",
    "password alice --scram",
    "--version now",
    "--port 1",
  ];
  for (const line of lines) {
    const result = parseCommand(line.split(" "));
    assert.ok("misuse" in result, line);
    assert.match(result.misuse, /^Cannot understand the command line: .*; see tributary --help$/);
  }
});

test("a password on the command line is not repeated", () => {
  assert.doesNotMatch(JSON.stringify(parseCommand(["password", "alice", "hunter2"])), /hunter2/);
});

test("any arguments are a command or misuse", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom("check", "route", "--record", "--"))), (argv) => {
      const result = parseCommand(argv);
      return "misuse" in result || result.kind !== undefined;
    }),
  );
});

test("the help names every command and every exit code", () => {
  for (const word of ["check", "--kafka", "route", "--record", "password", "--help", "--version"]) {
    assert.ok(HELP.includes(word), word);
  }
  for (const code of Object.values(EXIT)) assert.match(HELP, new RegExp(`\\b${code}\\b`));
});

test("the world's faults have their exit codes, everything else is our bug", () => {
  const cases: [ErrorCode, number][] = [
    ["config.invalid", 78],
    ["store.other-site", 78],
    ["store.busy", 75],
    ["store.not-usable", 73],
    ["store.io", 74],
    ["store.full", 74],
    ["store.damaged", 65],
    ["store.newer-format", 65],
    ["store.older-format", 65],
    ["listen.in-use", 69],
    ["kafka.unreachable", 69],
    ["kafka.misconfigured", 76],
  ];
  for (const [code, exit] of cases) assert.equal(exitCodeOf(new TributaryError(code, "x")), exit, code);
  for (const error of [new AssertionFailed("x"), new TypeError("x"), "x", undefined]) {
    assert.equal(exitCodeOf(error), 70);
  }
});
