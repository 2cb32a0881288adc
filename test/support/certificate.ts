import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Certificate = { readonly certPath: string; readonly keyPath: string };

/** A fresh self-signed certificate for localhost and 127.0.0.1, made by openssl, which must be installed. */
export const makeCertificate = (): Certificate => {
  const folder = mkdtempSync(join(tmpdir(), "engram-tls-"));
  const certPath = join(folder, "cert.pem");
  const keyPath = join(folder, "key.pem");
  const { exitCode, stderr } = Bun.spawnSync(
    [
      "openssl",
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost,IP:127.0.0.1",
      "-keyout",
      keyPath,
      "-out",
      certPath,
    ],
    { stderr: "pipe" },
  );
  if (exitCode !== 0) throw new Error(`openssl failed: ${stderr.toString()}`);
  return { certPath, keyPath };
};
