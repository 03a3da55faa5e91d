/**
 * `tributary check --data`: looks through a data directory that no gateway is using and says what is in it and whether it
 * is sound. It changes nothing there.
 */
import type { ExitCode } from "../cli/exit_codes.ts";
import { EXIT, exitCodeOf } from "../cli/exit_codes.ts";
import { renderInspection } from "../cli/render_inspection.ts";
import { TributaryError } from "../errors.ts";
import { inspectLog } from "../log/inspection.ts";
import type { ProcessEnvironment, StoreInspection } from "../ports.ts";

/** Prints what the directory holds to stdout, and what is wrong with it, a sentence each, to stderr. */
export async function checkData(directory: string, environment: ProcessEnvironment): Promise<ExitCode> {
  const { stdout, stderr } = environment;
  const store: StoreInspection = environment.inspectStore(directory);
  try {
    const inspection = await inspectLog(store);
    stdout.write(renderInspection(directory, inspection));
    if (inspection.findings.length === 0) return EXIT.ok;
    for (const { text } of inspection.findings) stderr.write(`${text}\n`);
    stderr.write(
      `Found ${inspection.findings.length} damaged: a start leaves out exactly these, names them in the loss ledger and goes on\n`,
    );
    return EXIT.data;
  } catch (error) {
    if (!(error instanceof TributaryError)) throw error;
    stderr.write(`${error.message}\n`);
    return exitCodeOf(error);
  } finally {
    await store.close();
  }
}
