/**
 * Throw-away certificates for TLS tests, made by the openssl command: an authority, a server and clients. Nothing with a
 * private key is kept in the repository.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate and its private key, PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** What a TLS test needs: one authority, what it signed, and a client it did not sign. */
export interface TestCertificates {
  readonly authority: string;
  /** For 127.0.0.1 and localhost. */
  readonly server: Identity;
  /** Common name `device-7`, signed by the authority. */
  readonly client: Identity;
  /** Common name `device-7`, signed by nobody but itself. */
  readonly stranger: Identity;
}

/** Why TLS tests cannot run here, or undefined. */
export function opensslMissing(): string | undefined {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "the openssl command is not installed, so no certificates can be made";
  }
}

let made: TestCertificates | undefined;

/** Makes the certificates once per process. Throws if the openssl command is missing or fails. */
export function testCertificates(): TestCertificates {
  made ??= make();
  return made;
}

function make(): TestCertificates {
  const directory = mkdtempSync(join(tmpdir(), "tributary-certificates-"));
  const path = (name: string): string => join(directory, name);
  const read = (name: string): string => readFileSync(path(name), "utf8");
  const openssl = (...args: readonly string[]): void => void execFileSync("openssl", args, { stdio: "pipe" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const selfSigned = (name: string, commonName: string): Identity => {
    const out = ["-keyout", path(`${name}.key`), "-out", path(`${name}.crt`)];
    openssl("req", "-x509", ...newKey, "-days", "2", "-subj", `/CN=${commonName}`, ...out);
    return { certificate: read(`${name}.crt`), key: read(`${name}.key`) };
  };
  const signed = (name: string, commonName: string, extensions: string): Identity => {
    writeFileSync(path(`${name}.ext`), extensions);
    openssl(
      "req",
      ...newKey,
      "-subj",
      `/CN=${commonName}`,
      "-keyout",
      path(`${name}.key`),
      "-out",
      path(`${name}.csr`),
    );
    const authority = ["-CA", path("authority.crt"), "-CAkey", path("authority.key"), "-CAcreateserial"];
    const files = ["-in", path(`${name}.csr`), "-out", path(`${name}.crt`), "-extfile", path(`${name}.ext`)];
    openssl("x509", "-req", "-days", "2", ...authority, ...files);
    return { certificate: read(`${name}.crt`), key: read(`${name}.key`) };
  };
  try {
    const authority = selfSigned("authority", "Tributary test authority");
    return {
      authority: authority.certificate,
      server: signed("server", "localhost", "subjectAltName=IP:127.0.0.1,DNS:localhost\n"),
      client: signed("client", "device-7", "extendedKeyUsage=clientAuth\n"),
      stranger: selfSigned("stranger", "device-7"),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
