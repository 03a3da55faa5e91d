/** The one `test` all tests use: node:test on every runtime. */
import { test as nodeTest, type TestContext } from "node:test";

/** Registers a test. */
export function test(name: string, body: (t: TestContext) => void | Promise<void>): void {
  void nodeTest(name, body);
}
