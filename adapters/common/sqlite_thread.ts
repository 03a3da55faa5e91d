/**
 * Where the store's thread begins: a file of its own, so that the thread loads the database and not the whole gateway. The
 * compiled binary has it as an entry beside the program's.
 */

import { workerData } from "node:worker_threads";
import type { SqliteOptions } from "./sqlite_database.ts";
import { serveLog } from "./sqlite_worker.ts";

serveLog(workerData as SqliteOptions); // what sqlite_store.ts starts it with
