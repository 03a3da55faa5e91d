/**
 * The data directory: may it be used, is it ours alone, and the ballast that keeps a full disk from being the end.
 * Knows nothing of tables.
 */

import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { TributaryError } from "../../src/errors.ts";
import { LIMITS } from "../../src/limits.ts";
import { isLocked, storeError } from "./store_errors.ts";

const LOCK_FILE = "lock.sqlite";
const DATABASE_FILE = "log.sqlite";
const BALLAST_FILE = "ballast";

/** Linux's f_type of file systems that live on another machine: SQLite's WAL needs memory shared by all its users. */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xfe534d42, "SMB"],
  [0xff534d42, "CIFS"],
  [0x01021997, "9P"],
  [0x00c36400, "Ceph"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x73757245, "Coda"],
  [0x0bd00bd0, "Lustre"],
  [0x786f4256, "VirtualBox shared folder"],
]);

export function databasePath(directory: string): string {
  return join(directory, DATABASE_FILE);
}

export function walPath(directory: string): string {
  return `${databasePath(directory)}-wal`;
}

/** The size of a file, 0 when there is none. */
export function bytesOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The name of the network file system with this f_type, or undefined for a local one. */
export function networkFileSystem(type: number): string | undefined {
  // The value is signed on some platforms and runtimes.
  return NETWORK_FILE_SYSTEMS.get(type >>> 0);
}

/** Refuses what cannot hold the log, and creates a missing directory (0700). A refusal has changed nothing. */
export function prepareDirectory(directory: string): void {
  const path = resolve(directory);
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    // Elsewhere the numbers mean other things.
    const remote = process.platform === "linux" ? networkFileSystem(statfsSync(existing).type) : undefined;
    if (remote !== undefined) {
      throw new TributaryError(
        "store.not-usable",
        `Cannot open the log in "${directory}": it is on a network file system (${remote}); choose a directory on a local disk`,
      );
    }
    if (existing !== path) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      for (let child = path; child !== existing; child = dirname(child)) syncDirectory(dirname(child));
    }
    if (!statSync(path).isDirectory()) throw new Error("it is not a directory");
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    if (existsSync(databasePath(path))) accessSync(databasePath(path), constants.R_OK | constants.W_OK);
  } catch (error) {
    throw storeError("open the log in", directory, error, "store.not-usable");
  }
}

/** A new directory entry survives a power cut only once its directory is synced. */
function syncDirectory(path: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Creates a file with mode 0600 unless it exists. Only ever with "wx": opening and closing an existing database file
 * would drop the POSIX locks that SQLite holds on it in this process.
 */
export function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (!existsSync(path)) throw error;
  }
}

/**
 * Makes this process the only one in the directory for as long as the returned connection stays open. A lock of the
 * operating system: it works between runtimes and does not outlive the process, however that ends.
 */
export function lockDirectory(directory: string): DatabaseSync {
  const path = join(directory, LOCK_FILE);
  let connection: DatabaseSync | undefined;
  try {
    createPrivate(path);
    connection = new DatabaseSync(path);
    // Nothing is ever written, so no journal file need lie about.
    connection.prepare("PRAGMA journal_mode = MEMORY").get();
    connection.prepare("BEGIN EXCLUSIVE").run();
    return connection;
  } catch (error) {
    connection?.close();
    if (isLocked(error)) {
      throw new TributaryError(
        "store.busy",
        `Cannot open the log in "${directory}": another process uses this data directory; stop it or choose another directory`,
        { cause: error },
      );
    }
    throw storeError("lock the log in", directory, error, "store.not-usable");
  }
}

/** Whether a process holds the lock; looks without taking it. */
export function isInUse(directory: string): boolean {
  const path = join(directory, LOCK_FILE);
  if (!existsSync(path)) return false;
  const connection = new DatabaseSync(path, { readOnly: true });
  try {
    connection.prepare("SELECT count(*) FROM sqlite_schema").get();
    return false;
  } catch (error) {
    if (isLocked(error)) return true;
    throw error;
  } finally {
    connection.close();
  }
}

/** Whether the disk had room when it was last written to: the ballast is given up when it has none. */
export function hasBallast(directory: string): boolean {
  return existsSync(join(directory, BALLAST_FILE));
}

/**
 * Bytes on the disk that are given up when it is full: without them SQLite could neither delete nor checkpoint, and
 * the log would be stuck for good.
 */
export class Ballast {
  readonly #directory: string;
  readonly #path: string;
  readonly #bytes: number;
  #present = false;

  constructor(directory: string, bytes: number) {
    this.#directory = directory;
    this.#path = join(directory, BALLAST_FILE);
    this.#bytes = bytes;
  }

  /** False while it is spent: the disk is (nearly) full. */
  get present(): boolean {
    return this.#present;
  }

  /**
   * At the start, before SQLite writes anything: a disk filled meanwhile could not even take the files that opening
   * needs. (The one thing that a start which is refused later may have changed.)
   */
  adopt(): void {
    this.#present = this.#isAllocated();
    if (this.#present && this.#freeBytes() < Math.min(this.#bytes, LIMITS.writeAheadLogBytes)) this.spend();
  }

  /** Makes it again if the disk has room for twice its size, so that it does not come and go. Cheap while present. */
  restore(): void {
    if (this.#present) return;
    if (this.#freeBytes() >= 2 * this.#bytes) this.#present = this.#write();
  }

  spend(): void {
    rmSync(this.#path, { force: true });
    this.#present = false;
  }

  #freeBytes(): number {
    const disk = statfsSync(this.#directory);
    return disk.bavail * disk.bsize;
  }

  #isAllocated(): boolean {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    if (stat === undefined || stat.size < this.#bytes) return false;
    return process.platform === "win32" || stat.blocks * 512 >= this.#bytes;
  }

  /** Real bytes that do not compress: a sparse file would free nothing. */
  #write(): boolean {
    const block = new Uint8Array(65_536);
    const descriptor = openSync(this.#path, "w", 0o600);
    try {
      for (let written = 0; written < this.#bytes;) {
        crypto.getRandomValues(block); // a generator of our own would take the compiler into memory
        written += writeSync(descriptor, block, 0, Math.min(block.byteLength, this.#bytes - written));
      }
      fsyncSync(descriptor);
    } catch (error) {
      rmSync(this.#path, { force: true });
      if (error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT")) {
        return false;
      }
      throw error;
    } finally {
      closeSync(descriptor);
    }
    return true;
  }
}
